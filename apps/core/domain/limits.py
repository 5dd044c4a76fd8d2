"""How much a caller may write, over HTTP and in the terminal alike."""

MAX_QUERY_CHARS = 2000  # of a search
MAX_QUESTION_CHARS = 4000
