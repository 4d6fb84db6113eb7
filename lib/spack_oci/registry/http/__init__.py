# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One request, one response: transport, parsers of what servers send, retry policies, rates, errors."""
