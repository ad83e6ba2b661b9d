"""What a route says about who may use it."""

from __future__ import annotations

from dataclasses import dataclass

from ingestd.access.permissions import Permission


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use a route. Nothing is open that does not say so."""

    needs: tuple[Permission, ...] = ()
    """one of these; none: whoever has signed in"""
    anonymous: bool = False
    """True for those who have not signed in, too"""
    bound_keys: bool = False
    """True when keys that are bound to a source are let in: the route looks at `caller.source` itself"""

    def told(self) -> str:
        """For the documentation of the route."""
        if self.anonymous:
            return "Open to everybody."
        if not self.needs:
            return "Needs a session or key."
        bound = " A key that is bound to a source sees what is of that source." if self.bound_keys else ""
        return f"Needs the permission {' or '.join(f'`{each}`' for each in self.needs)}.{bound}"


ANYBODY = Access(anonymous=True)
SIGNED_IN = Access()


def needs(*permissions: Permission, bound_keys: bool = False) -> Access:
    """Open for whoever has one of the permissions."""
    assert permissions
    return Access(needs=permissions, bound_keys=bound_keys)
