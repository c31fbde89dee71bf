//! The layers between an application's message and the payload of a Sphinx packet.
