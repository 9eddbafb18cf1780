"""The product around the library: configuration, keys, commands, the demo. The only place that knows everything."""
