"""Score tables and human ratings in, agreement with honest intervals out; a page that an auditor can sign."""
