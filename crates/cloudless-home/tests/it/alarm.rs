//! A device that deletes much, and the way back.

use cloudless_home::admin::{Alarm, Command, Reply};

use crate::offline::{Offline, card};

const DAY: i64 = 24 * 60 * 60 * 1_000;

fn alarms(offline: &Offline, at: i64) -> Vec<Alarm> {
    match offline.run_at(Command::Status, at) {
        Reply::Status(status) => status.alarms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_that_deletes_much_is_told_and_undone() {
    let offline = Offline::new();
    let phone = offline.device("phone");
    for number in 0..30 {
        let uid = format!("c{number:02}");
        offline.import_at(&[(None, &card(&uid, &uid))], 1_000);
    }
    // The owner at the machine may delete whatever they want.
    offline.delete("c29.vcf", None, 1_500);
    assert_eq!(alarms(&offline, 2_000), []);
    for number in 0..20 {
        offline.delete(&format!("c{number:02}.vcf"), Some(phone), 2_000 + number);
    }
    let found = alarms(&offline, 3_000);
    let [alarm] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (alarm.count, alarm.first_at, alarm.last_at),
        (20, 2_000, 2_019)
    );
    assert_eq!(
        (
            alarm.user.as_str(),
            alarm.book.as_str(),
            alarm.device.as_str()
        ),
        ("me", "contacts", "phone")
    );
    assert_eq!(alarms(&offline, 3_000 + 31 * DAY), [], "old news");

    let undo = Command::DeletionUndo { alarm: alarm.alarm };
    let Reply::DeletionUndone {
        alarm: undone,
        difference,
    } = offline.run(undo.clone())
    else {
        panic!()
    };
    assert_eq!(undone, *alarm);
    assert_eq!(difference.created.count, 20);
    assert_eq!(
        difference.created.cards[3].full_name.as_deref(),
        Some("c03")
    );
    assert_eq!(
        offline.names().len(),
        29,
        "what the owner deleted stays deleted"
    );
    assert_eq!(alarms(&offline, 3_000), []);
    assert!(offline.error(undo).contains("home status"));
    assert!(
        offline
            .error(Command::DeletionUndo { alarm: 77 })
            .contains("77")
    );
}
