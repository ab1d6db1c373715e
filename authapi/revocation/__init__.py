"""What ends tokens: each worker's copy of it, and how long it is kept."""
