//! Takes out of a text what differs from world to world.

use super::ids::is_uuid;

/// An error text without what differs from world to world: JSON of internal objects, UUIDs,
/// numbers.
pub(super) fn mask(text: &str) -> String {
    let mut depth = 0_usize;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '{' => {
                if depth == 0 {
                    outside.push_str("{}");
                }
                depth += 1;
            }
            '}' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            _ => outside.push(c),
        }
    }
    mask_numbers(&mask_uuids(&outside))
}

fn mask_uuids(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match rest.get(..36).filter(|head| is_uuid(head)) {
            Some(_) => {
                masked.push('U');
                rest = &rest[36..];
            }
            None => {
                masked.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    masked
}

pub(super) fn mask_numbers(text: &str) -> String {
    let mut masked = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            masked.push(c);
        } else if !masked.ends_with('#') {
            masked.push('#');
        }
    }
    masked
}

#[test]
fn a_mask_hides_ids_and_nothing_else() {
    let id = "11111111-1111-4111-8111-111111111111";
    let text = format!("Unable to stop VM instance {{\"id\":23,\"x\":{{}}}} [{id}] i-2-23-VM");
    assert_eq!(mask(&text), "Unable to stop VM instance {} [U] i-#-#-VM");
    assert_ne!(
        mask("Failed to delete network"),
        mask("Failed to delete VPC")
    );
    assert_ne!(
        mask("tag a already on UserVm"),
        mask("tag b already on UserVm")
    );
}
