"""Black out credentials in texts that go from one agent to another (field reference, section 2.8)."""

from __future__ import annotations

import re

LONGEST = 256
"""Characters after which a credential that begins in a text is recognised for sure."""

_CREDENTIALS = re.compile(
    r"""
      (?<![A-Za-z0-9_-])
      (?: sk-ant-[A-Za-z0-9_-]{16,}              # Anthropic
        | sk-proj-[A-Za-z0-9_-]{16,}             # OpenAI, project
        | sk-[A-Za-z0-9]{40,}                    # OpenAI
        | AIzaSy[A-Za-z0-9_-]{20,}               # Google
        | (?:AKIA|ASIA)[A-Z0-9]{16}              # AWS
        | gh[opsur]_[A-Za-z0-9]{20,}             # GitHub
        | github_pat_[A-Za-z0-9_]{20,}
        | xox[abprs]-[A-Za-z0-9-]{10,}           # Slack
        | xapp-[A-Za-z0-9-]{10,}
        | hf_[A-Za-z0-9]{20,}                    # Hugging Face
      )
    | (?P<bearer>\bBearer\s+)[A-Za-z0-9._~+/-]{20,}=*
    """,
    re.VERBOSE,
)

MARK = "[REDACTED]"


def redact(text: str) -> str:
    """The text with every credential of a known shape replaced by a mark."""
    return _CREDENTIALS.sub(lambda match: (match["bearer"] or "") + MARK, text)
