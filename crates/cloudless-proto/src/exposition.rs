//! Metrics as text, the way Prometheus and OpenTelemetry collectors read them: the text exposition
//! format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Builds the text, one family of samples after another.
#[derive(Clone, Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help).sample(&[], value);
    }

    /// A number that only grows while the process lives; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help).sample(&[], value);
    }

    /// Gauges of one name that differ in their labels.
    pub fn gauges<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// Counters of one name that differ in their labels.
    pub fn counters<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "counter", help)
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }
}

/// The samples of one name.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    /// Adds a sample; no two may have the same labels. Label values may hold anything.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{opening}{label}=\"{}\"", escaped(value));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{closing} {value}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_labels_are_written_and_escaped() {
        let mut text = Exposition::default();
        text.gauge("up", "Whether it is up.\nReally.", 1);
        let mut family = text.counters("seen_total", "What was seen.");
        family.sample(&[("class", "a"), ("why", "\"b\"\\\n")], 2);
        family.sample(&[("class", "c"), ("why", "")], 0.5);
        assert_eq!(
            text.into_text(),
            "# HELP up Whether it is up.\\nReally.\n# TYPE up gauge\nup 1\n\
             # HELP seen_total What was seen.\n# TYPE seen_total counter\n\
             seen_total{class=\"a\",why=\"\\\"b\\\"\\\\\\n\"} 2\n\
             seen_total{class=\"c\",why=\"\"} 0.5\n"
        );
    }
}
