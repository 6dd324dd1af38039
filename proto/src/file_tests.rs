//! Which revision a use has, and that nothing prints a content.

use super::*;

const PLACE: Rotation = Rotation::InPlace { signal: None };
const HUP: Rotation = Rotation::InPlace { signal: Some(1) };

fn file(rotations: &[Rotation]) -> File {
    let revisions = (1..).zip(rotations).map(|(number, rotation)| FileRevision {
        number,
        at: WallTime::default(),
        by: String::new(),
        size: 1,
        rotation: *rotation,
    });
    File {
        id: FileId::new(FileKind::Secret, 1),
        version: 1,
        created: WallTime::default(),
        updated: WallTime::default(),
        spec: FileSpec::default(),
        revisions: revisions.collect(),
    }
}

#[test]
fn a_use_follows_what_was_made_in_place_and_stops_at_what_rolls_out() {
    let file = file(&[PLACE, PLACE, Rotation::Rolling, HUP]);
    let all = |_| true;
    assert_eq!(file.resolve(None, all), 4);
    assert_eq!(file.resolve(Some(1), all), 2);
    assert_eq!(file.resolve(Some(2), all), 2);
    assert_eq!(file.resolve(Some(3), all), 4);
    assert_eq!(file.resolve(Some(4), all), 4);
}

#[test]
fn a_use_of_a_content_that_is_gone_has_the_newest() {
    let file = file(&[PLACE, Rotation::Rolling, Rotation::Rolling]);
    assert_eq!(file.resolve(Some(1), |number| number == 3), 3);
    assert_eq!(file.resolve(Some(1), |number| number == 1), 1);
}

#[test]
fn the_last_signal_up_to_a_revision_is_known() {
    let file = file(&[PLACE, HUP, PLACE, Rotation::Rolling]);
    assert_eq!(file.signalled(1), None);
    assert_eq!(file.signalled(2), Some((2, 1)));
    assert_eq!(file.signalled(4), Some((2, 1)));
}

#[test]
fn content_is_not_printed() {
    let text = format!("{:?}", Content::new(b"sesame".to_vec()));
    assert_eq!(text, "(6 bytes, not shown)");
}
