"""What somebody looks for, in the language of PostgreSQL's text search."""

# Of a query; more words find no better.
MOST_WORDS = 16


def tsquery(text: str) -> str:
    """The words of `text` for `to_tsquery`: all of them, the last perhaps the beginning of one. Empty without words."""
    words = [word.replace("\\", "\\\\").replace("'", "''") for word in text.replace("\0", " ").split()[:MOST_WORDS]]
    return " & ".join(f"'{word}'" for word in words) + (":*" if words else "")
