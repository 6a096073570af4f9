"""What a check found."""

import msgspec

# Of each kind so many are named; all are counted.
EXAMPLES = 20


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it must be: `check` is its kind, `subject` what it is about."""

    check: str
    subject: str
    message: str


class Report(msgspec.Struct):
    """`checks` is how many rows each check looked at, or found wrong where it looks at all at once."""

    findings: list[Finding] = []
    found: dict[str, int] = {}
    checks: list[str] = []

    def checked(self, name: str) -> None:
        """A check was made."""
        self.checks.append(name)
        self.found.setdefault(name, 0)

    def add(self, check: str, subject: object, message: str) -> None:
        """It found something."""
        self.found[check] = self.found.get(check, 0) + 1
        if self.found[check] <= EXAMPLES:
            self.findings.append(Finding(check, str(subject), message))

    @property
    def clean(self) -> bool:
        return not self.findings
