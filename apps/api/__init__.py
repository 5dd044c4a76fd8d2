"""HTTP: parses, authorises, renders. Knows nothing of how an answer is made."""
