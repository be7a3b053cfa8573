//! Settings: flags, environment and a TOML file become one checked value, with every mistake in one message.
