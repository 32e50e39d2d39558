use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends numbered packets, `gap` apart, and returns each that arrived with its travel time.
fn travel(conditions: &Conditions, seed: u64, count: u64, gap: Duration) -> Vec<(u64, Duration)> {
    let start = Instant::now();
    let mut line = Line::new(seed);
    let mut sent = Vec::new();
    for number in 0..count {
        let now = start + gap * u32::try_from(number).unwrap();
        sent.push(now);
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(1000, 0);
        line.send(now, conditions, &bytes);
    }
    let mut arrived = Vec::new();
    while let Some(arrival) = line.next_arrival() {
        assert_eq!(line.receive(arrival - ms(1)), None);
        let bytes = line.receive(arrival).unwrap();
        let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
        arrived.push((number, arrival - sent[usize::try_from(number).unwrap()]));
    }
    arrived
}

#[test]
fn a_perfect_line_delivers_at_once_and_in_order() {
    let arrived = travel(&Conditions::default(), 1, 100, ms(0));
    let numbers: Vec<_> = arrived.iter().map(|it| it.0).collect();
    assert_eq!(numbers, Vec::from_iter(0..100));
    assert!(arrived.iter().all(|it| it.1.is_zero()));
}

#[test]
fn delay_is_the_same_for_all_and_keeps_the_order() {
    let conditions = Conditions {
        delay: ms(20),
        ..Conditions::default()
    };
    let arrived = travel(&conditions, 1, 100, ms(1));
    assert_eq!(arrived.len(), 100);
    assert!(arrived.iter().all(|it| it.1 == ms(20)));
    assert!(arrived.is_sorted());
}

#[test]
fn loss_is_as_large_as_asked_and_the_same_for_a_seed() {
    let conditions = Conditions {
        loss: 0.1,
        ..Conditions::default()
    };
    let arrived = travel(&conditions, 7, 10_000, ms(0));
    assert!((8_900..9_100).contains(&arrived.len()), "{}", arrived.len());
    assert_eq!(travel(&conditions, 7, 10_000, ms(0)), arrived);
    assert_ne!(travel(&conditions, 8, 10_000, ms(0)), arrived);
    assert_eq!(travel(&Conditions::BLACK_HOLE, 7, 1_000, ms(0)), []);
}

#[test]
fn reordered_packets_are_overtaken_and_none_is_lost() {
    let conditions = Conditions {
        reorder: 0.1,
        ..Conditions::default()
    };
    let arrived = travel(&conditions, 3, 1_000, ms(1));
    let late = arrived.iter().filter(|it| it.1 == HELD_BACK).count();
    assert!((60..140).contains(&late), "{late}");
    assert!(!arrived.is_sorted());
    assert_eq!(arrived.len(), 1_000);
}

#[test]
fn a_rate_spaces_packets_out_and_a_full_queue_drops_them() {
    let conditions = Conditions {
        rate: Some(100_000),
        queue: ms(95),
        ..Conditions::default()
    };
    // 1,000 bytes take 10 ms: with 11 packets in front of it, another would wait too long.
    let arrived = travel(&conditions, 1, 100, ms(0));
    let times: Vec<_> = arrived.iter().map(|it| it.1).collect();
    assert_eq!(times, Vec::from_iter((1..=10).map(|it| ms(10 * it))));
    // At half the rate none waits.
    let arrived = travel(&conditions, 1, 100, ms(20));
    assert_eq!(arrived.len(), 100);
    assert!(arrived.iter().all(|it| it.1 == ms(10)));
}
