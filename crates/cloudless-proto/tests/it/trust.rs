//! What the documentation says of trust levels is what their model says.

use std::path::Path;

use cloudless_proto::trust::{TABLE_BEGIN, TABLE_END, table};

#[test]
fn the_documented_table_is_the_models() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(TABLE_BEGIN).unwrap();
    let (documented, _) = rest.split_once(TABLE_END).unwrap();
    let advice = "docs/security.md says something else; run `cargo xtask security-table`";
    assert_eq!(documented.trim(), table().trim(), "{advice}");
}
