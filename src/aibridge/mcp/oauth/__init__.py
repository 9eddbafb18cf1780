"""Each person's own login at MCP servers (OAuth 2.1). Needs the SDK; nothing of it is loaded before a server asks for it."""
