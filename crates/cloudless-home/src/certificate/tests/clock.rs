use super::*;

/// Whether visitors are served, with a clock of the authority's that says this.
fn is_served(fixture: &Fixture) -> bool {
    let home = host("home.example.org");
    fixture.certificates.server_config(&home).is_some()
}

#[test]
fn by_neither_clock_a_public_certificate_may_be_over() {
    let start = SystemTime::now();
    let pem = public_certificate("home.example.org", start, 45 * DAY);
    let fixture = with_public_certificate(&pem, start + 44 * DAY);
    for (authority_time, expected) in [
        (None, true),
        (Some(start + 46 * DAY), false),
        (Some(start + 42 * DAY), true),
        (Some(start - 6 * DAY), false),
        (None, true),
    ] {
        fixture.certificates.hear(authority_time);
        assert_eq!(is_served(&fixture), expected, "{authority_time:?}");
    }
    // It goes on.
    fixture.certificates.hear(Some(start + 42 * DAY));
    fixture.pass(DAY - Duration::from_secs(2));
    assert!(is_served(&fixture));
    fixture.set(start + 44 * DAY);
    fixture.pass(DAY - Duration::from_secs(2));
    assert!(is_served(&fixture), "by both it is good");
    fixture.set(start + 44 * DAY);
    fixture.pass(2 * DAY);
    fixture.set(start + 44 * DAY);
    assert!(!is_served(&fixture), "by the authority's clock it is over");
}

/// Nothing is asked of the authority between.
#[test]
fn a_clock_that_is_set_right_serves_the_name_at_once() {
    let start = SystemTime::now();
    let pem = public_certificate("home.example.org", start, 45 * DAY);
    // It is days ahead of the end, and home hears so when it orders.
    let fixture = with_public_certificate(&pem, start + 60 * DAY);
    assert!(!is_served(&fixture));
    fixture.certificates.hear(Some(start + 10 * DAY));
    assert!(!is_served(&fixture));
    fixture.set(start + 10 * DAY);
    assert!(is_served(&fixture));
    fixture.pass(34 * DAY);
    assert!(is_served(&fixture));
    fixture.pass(DAY);
    assert!(!is_served(&fixture));
}
