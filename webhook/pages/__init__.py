"""The live pages: the site's templates over HTTP, with server-sent events and a strict content policy."""
