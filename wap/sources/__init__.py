"""Where rows come from: the port ``Source`` and one file per kind."""
