"""What people look at: view models and templates that become live pages or static files; it reads and never decides."""
