# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A transport whose requests keep to the rate that each host allows."""

from typing import Mapping, Optional

from .limiter import HostLimiter, limiter_for
from .response import Response
from .response_errors import retry_after
from .retry import RetryPolicy
from .transport import Body, Transport
from .urls import host_of

#: statuses by which a host says that it is asked too much
THROTTLED = frozenset({429, 503})


class ThrottledTransport:
    """Around another transport. What is shared between all of them is in the hosts' limiters."""

    def __init__(self, transport: Transport, policy: RetryPolicy) -> None:
        self._transport = transport
        self._policy = policy

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        read_timeout: Optional[float] = None,
    ) -> Response:
        limiter = limiter_for(host_of(url))
        sent = limiter.begin(self._policy.sleep)
        try:
            response = self._transport.send(method, url, headers, body, read_timeout)
        except BaseException:
            limiter.end()
            raise
        if response.status in THROTTLED:
            self._refused(limiter, sent, response)
        else:
            limiter.end_served()
        return response

    def _refused(self, limiter: HostLimiter, sent: float, response: Response) -> None:
        wait = retry_after(response)
        if wait is not None and wait > self._policy.max_retry_after:
            limiter.end()  # so long nobody waits: that is an error, and no rate
        else:
            limiter.end_refused(sent, wait, self._policy.backoff(1))
