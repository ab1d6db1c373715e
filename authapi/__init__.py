"""The service behind its front door: one package for each kind of work."""
