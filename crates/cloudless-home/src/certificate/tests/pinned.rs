use super::*;

const NAME: &str = "home.example.org";
const FILE: &str = "certificates/home.example.org_pinned.pem";

fn open(directory: TempDir, source: CertificateSource, now: SystemTime) -> Fixture {
    Fixture::with_sources(directory, &[(host(NAME), source)], now)
}

/// The fingerprint that devices are shown, if the certificate is served.
fn shown(fixture: &Fixture) -> Option<String> {
    fixture.certificates.server_config(&host(NAME))?;
    fixture.certificates.status().remove(0).sha256
}

fn error(fixture: &Fixture) -> String {
    let status = fixture.certificates.status().remove(0);
    status.error.expect("an error")
}

/// A name that was `own` for a hundred days before it was pinned, so that its authority is older.
fn pinned() -> (Fixture, SystemTime) {
    let start = SystemTime::now();
    let fixture = open(TempDir::new().unwrap(), CertificateSource::Own, start);
    let pinned_at = start + 100 * DAY;
    let fixture = open(fixture.directory, CertificateSource::Pinned, pinned_at);
    (fixture, pinned_at)
}

#[test]
fn a_clock_that_is_set_back_makes_no_other_pinned_certificate() {
    let (fixture, pinned_at) = pinned();
    let (before, file) = (shown(&fixture), fixture.text(FILE));
    assert!(before.is_some());
    let early = pinned_at - 20 * DAY;
    // While home runs.
    fixture.set(early);
    fixture.certificates.refresh();
    assert_eq!(shown(&fixture), None, "not good yet");
    let said = error(&fixture);
    assert!(said.contains("set this machine's clock"), "{said}");
    assert_eq!(fixture.text(FILE), file);
    fixture.set(pinned_at);
    fixture.certificates.refresh();
    assert_eq!(shown(&fixture), before);
    assert_eq!(fixture.certificates.status()[0].error, None);

    // When it starts.
    let fixture = open(fixture.directory, CertificateSource::Pinned, early);
    assert_eq!(shown(&fixture), None);
    assert!(error(&fixture).contains("set this machine's clock"));
    assert_eq!(fixture.text(FILE), file);
    fixture.set(pinned_at);
    fixture.certificates.refresh();
    assert_eq!(shown(&fixture), before);
}

#[test]
fn a_damaged_pinned_certificate_is_told_and_not_replaced() {
    let (fixture, pinned_at) = pinned();
    let (before, file) = (shown(&fixture), fixture.text(FILE));
    let path = fixture.directory.path().join(FILE);
    for damaged in ["", "garbage", &file[..file.len() / 2]] {
        std::fs::write(&path, damaged).unwrap();
        let fixture = open(
            copy(fixture.directory.path()),
            CertificateSource::Pinned,
            pinned_at,
        );
        assert_eq!(shown(&fixture), None);
        let said = error(&fixture);
        assert!(
            said.contains("is damaged: restore it, or move it away"),
            "{said}"
        );
        assert_eq!(fixture.text(FILE), damaged);
    }
    // The one that is in use stays in use.
    fixture.certificates.refresh();
    assert_eq!(shown(&fixture), before);
    std::fs::remove_file(&path).unwrap();
    let fixture = open(fixture.directory, CertificateSource::Pinned, pinned_at);
    assert!(
        shown(&fixture).is_some_and(|it| Some(it) != before),
        "as asked for"
    );
}

#[test]
fn a_pinned_certificate_outlives_its_authority_s_file() {
    let (fixture, pinned_at) = pinned();
    let before = fixture.text(FILE);
    let authority = fixture
        .directory
        .path()
        .join("certificates/home.example.org_ca.pem");
    std::fs::remove_file(authority).unwrap();
    let fixture = open(
        fixture.directory,
        CertificateSource::Pinned,
        pinned_at + DAY,
    );
    assert_eq!(fixture.text(FILE), before);
    let leaf = fixture.certificates.status().remove(0).sha256;
    assert!(leaf.is_some());
    // Near its end there is a new one, which the new authority can give more time.
    fixture.pass(3530 * DAY);
    fixture.certificates.refresh();
    assert_ne!(fixture.certificates.status()[0].sha256, leaf);
}

#[test]
fn a_pinned_certificate_that_ends_with_its_authority_is_not_replaced_again_and_again() {
    let (fixture, _) = pinned();
    let before = shown(&fixture);
    fixture.pass(3540 * DAY);
    fixture.certificates.refresh();
    assert_eq!(shown(&fixture), before);
}

fn copy(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    std::fs::create_dir(copy.path().join("certificates")).unwrap();
    for file in std::fs::read_dir(directory.join("certificates")).unwrap() {
        let file = file.unwrap();
        let to = copy.path().join("certificates").join(file.file_name());
        std::fs::copy(file.path(), to).unwrap();
    }
    copy
}
