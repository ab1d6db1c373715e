"""What every endpoint needs of HTTP: heads and bodies in, JSON out."""
