# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One request, one response: transport, retry policies, errors of responses."""
