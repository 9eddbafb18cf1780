"""HTTP towards clients: our connection class under uvicorn, its limits, and how a server starts and drains.

Nothing in here knows a dialect, a provider or a user; the application behind it is any ASGI application.
"""
