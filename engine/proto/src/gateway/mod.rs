//! What clients and gateways say to each other over a WebSocket.
