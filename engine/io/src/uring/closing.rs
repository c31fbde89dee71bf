//! The end of a connection: its operations first, then itself.

use std::io;

use super::ring::Op;
use super::{Connection, Role, UringLink};
use crate::slab::Key;

impl UringLink {
    /// Ends the operations on a connection; it goes when the last of them has ended.
    pub(super) fn close(&mut self, key: Key) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if !connection.closing {
            connection.closing = true;
            if matches!(connection.role, Role::In { .. }) {
                self.inbound -= 1;
                self.leaving += 1;
            }
            if connection.receiving {
                self.ring.cancel(Op::Receive, key)?;
            }
            if let Some(op) = connection.lent {
                let flight = match &connection.role {
                    Role::Out { lending, .. } if op == Op::Lend => lending.flight(),
                    _ => None,
                };
                self.ring.cancel(op, flight.unwrap_or(key))?;
            }
        }
        self.reap(key);
        Ok(())
    }

    /// Closes a connection for good if it is to be closed and the kernel is done with it.
    pub(super) fn reap(&mut self, key: Key) {
        let done = |c: &mut Connection| c.closing && !c.receiving && c.lent.is_none();
        if self.connections.get_mut(key).is_some_and(done)
            && let Some(connection) = self.connections.remove(key)
            && matches!(connection.role, Role::In { .. })
        {
            self.leaving -= 1;
        }
    }
}
