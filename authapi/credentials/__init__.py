"""Client keys, tokens, and the keys that sign them: no database, no HTTP."""
