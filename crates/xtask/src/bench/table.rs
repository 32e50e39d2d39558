//! Figures side by side, with ratios, as Markdown.

use std::fmt;
use std::time::Duration;

use super::cpu::Cpu;
use super::statistics::Thousands;

/// One figure. Of rates more is better, of times less.
#[derive(Clone, Copy)]
pub(crate) enum Cell {
    /// A time, shown in milliseconds.
    Millis(Duration),
    /// Per second.
    Rate(f64),
    /// A time, shown in seconds.
    Seconds(Duration),
}

impl Cell {
    /// How many times better this figure is than the other one.
    pub(crate) fn advantage(self, other: Self) -> f64 {
        match self {
            Self::Rate(_) => self.number() / other.number(),
            Self::Seconds(_) | Self::Millis(_) => other.number() / self.number(),
        }
    }

    /// In the unit it is shown in.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Rate(rate) => rate,
            Self::Seconds(time) => time.as_secs_f64(),
            Self::Millis(time) => time.as_secs_f64() * 1e3,
        }
    }

    /// The time of one, in milliseconds.
    pub(crate) fn milliseconds(self) -> f64 {
        match self {
            Self::Rate(rate) => 1e3 / rate,
            Self::Seconds(time) | Self::Millis(time) => time.as_secs_f64() * 1e3,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) if *rate >= 100.0 => write!(f, "{rate:.0}"),
            Self::Rate(rate) => write!(f, "{rate:.1}"),
            Self::Seconds(_) | Self::Millis(_) if self.number() < 0.1 => {
                write!(f, "{:.3}", self.number())
            }
            Self::Seconds(_) | Self::Millis(_) => write!(f, "{:.2}", self.number()),
        }
    }
}

/// What was measured, and the figure.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) cell: Cell,
    /// Of one request or, where the row is a sync, of the whole sync.
    cpu: Option<Cpu>,
}

impl Row {
    pub(crate) fn new(name: &'static str, cell: Cell) -> Self {
        Self {
            name,
            cell,
            cpu: None,
        }
    }

    pub(crate) fn with_cpu(self, cpu: Option<Cpu>) -> Self {
        Self { cpu, ..self }
    }
}

/// One way to a server, and its rows.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Whether it tells what cannot be done without, and is nobody to compare with.
    pub(crate) is_floor: bool,
    pub(crate) rows: Vec<Row>,
}

impl Column {
    /// The figure of a row.
    pub(crate) fn cell(&self, name: &str) -> Option<Cell> {
        Some(self.row(name)?.cell)
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|it| it.name == name)
    }
}

/// The figures of the first column's rows side by side, and how much better the first column is
/// than each other one.
pub(crate) fn table(size: usize, columns: &[Column]) -> String {
    let Some((ours, others)) = columns.split_first() else {
        return String::new();
    };
    let rivals: Vec<&Column> = others.iter().filter(|it| !it.is_floor).collect();
    let mut heads: Vec<String> = columns.iter().map(|it| it.name.to_owned()).collect();
    heads.extend(rivals.iter().map(|it| format!("x {}", it.name)));
    let mut table = head(&format!("N = {}", Thousands(size)), &heads);
    for row in &ours.rows {
        table.push_str(&format!("| {} | {} |", row.name, row.cell));
        for other in others {
            table.push_str(&figure(other.cell(row.name)));
        }
        for rival in &rivals {
            let advantage = rival.cell(row.name).map(|it| row.cell.advantage(it));
            table.push_str(&figure(advantage.map(|it| format!("{it:.1}"))));
        }
        table.push('\n');
    }
    table
}

/// CPU milliseconds of each server and, of the first column, of the client.
pub(crate) fn cpu_table(size: usize, columns: &[Column]) -> String {
    let Some(ours) = columns.first() else {
        return String::new();
    };
    let mut heads: Vec<String> = columns.iter().map(|it| it.name.to_owned()).collect();
    heads.push(format!("the client, {}", ours.name));
    let first = format!("N = {}: CPU ms of one request or sync", Thousands(size));
    let mut table = head(&first, &heads);
    let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    for row in ours.rows.iter().filter(|it| it.cpu.is_some()) {
        table.push_str(&format!("| {} |", row.name));
        for column in columns {
            let cpu = column.row(row.name).and_then(|it| it.cpu);
            table.push_str(&figure(cpu.map(|it| milliseconds(it.server))));
        }
        table.push_str(&figure(row.cpu.map(|it| milliseconds(it.client))));
        table.push('\n');
    }
    table
}

/// The head of a table whose columns hold figures.
pub(crate) fn head(first: &str, others: &[String]) -> String {
    let columns = "--:|".repeat(others.len());
    format!("\n| {first} | {} |\n|---|{columns}\n", others.join(" | "))
}

/// One cell of a table.
pub(crate) fn figure(figure: Option<impl fmt::Display>) -> String {
    figure.map_or_else(|| " – |".to_owned(), |it| format!(" {it} |"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &'static str, rate: f64, ms: u64) -> Column {
        let cpu = Cpu {
            server: Duration::from_millis(ms),
            client: Duration::from_micros(30),
        };
        let get = Row::new("GET ms", Cell::Millis(Duration::from_millis(ms)));
        Column {
            name,
            is_floor: false,
            rows: vec![Row::new("PUT/s", Cell::Rate(rate)), get.with_cpu(Some(cpu))],
        }
    }

    #[test]
    fn ratios_point_the_right_way() {
        let columns = [
            column("loopback", 800.0, 2),
            column("relay", 400.0, 3),
            column("Radicale", 16.0, 20),
        ];
        assert_eq!(
            table(1_000, &columns),
            "\n| N = 1,000 | loopback | relay | Radicale | x relay | x Radicale |\n\
             |---|--:|--:|--:|--:|--:|\n\
             | PUT/s | 800 | 400 | 16.0 | 2.0 | 50.0 |\n\
             | GET ms | 2.00 | 3.00 | 20.00 | 1.5 | 10.0 |\n"
        );
        assert!(matches!(columns[0].cell("PUT/s"), Some(Cell::Rate(800.0))));
        assert!(columns[0].cell("none").is_none());
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_a_floor_is_no_rival() {
        let mut floor = column("floor", 0.0, 1);
        floor.is_floor = true;
        floor.rows.remove(0);
        assert_eq!(
            table(10, &[column("loopback", 800.0, 2), floor]),
            "\n| N = 10 | loopback | floor |\n|---|--:|--:|\n\
             | PUT/s | 800 | – |\n| GET ms | 2.00 | 1.00 |\n"
        );
    }

    #[test]
    fn cpu_time_is_shown_where_it_was_measured() {
        assert_eq!(
            cpu_table(10, &[column("loopback", 800.0, 2)]),
            "\n| N = 10: CPU ms of one request or sync | loopback | the client, loopback |\n\
             |---|--:|--:|\n| GET ms | 2.000 | 0.030 |\n"
        );
    }
}
