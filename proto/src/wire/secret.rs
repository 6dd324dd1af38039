//! Messages with secrets: what is printed of them holds none.

use std::fmt;

use super::v1;

impl fmt::Debug for v1::Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority { key: (not shown) }")
    }
}

impl fmt::Debug for v1::JoinSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecrets { (not shown) }")
    }
}

impl fmt::Debug for v1::JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("hostname", &self.hostname)
            .field("secret", &"(not shown)")
            .finish_non_exhaustive()
    }
}
