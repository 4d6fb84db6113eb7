# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A push in one call."""

from spack_oci.operations.push.execute import execute_push, plan_push


def push(store, packages, settings, force=False, **kwargs):
    plan = plan_push(store, packages, force=force, settings=settings)
    return execute_push(plan, store, settings=settings, **kwargs)
