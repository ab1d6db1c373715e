"""SQLite and PostgreSQL behind one `Database`: how questions are asked, and none of ours."""
