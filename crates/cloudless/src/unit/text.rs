//! A unit file as lines.

/// A unit file that is changed in place: comments and order stay.
pub(super) struct Text(Vec<String>);

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// Gives the line of `key` another value.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.set_all(key, &[value.to_owned()]);
    }

    /// Gives `key` these values, where it had its first one.
    pub(super) fn set_all(&mut self, key: &str, values: &[String]) {
        let Some(index) = self.0.iter().position(|line| is_of(line, key)) else {
            return;
        };
        self.remove(key);
        let lines = values.iter().map(|value| format!("{key}={value}"));
        self.0.splice(index..index, lines);
    }

    /// Removes every line of `key`.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|line| !is_of(line, key));
    }

    /// Adds a line after that of `key`.
    pub(super) fn insert_after(&mut self, key: &str, line: &str) {
        if let Some(index) = self.0.iter().position(|it| is_of(it, key)) {
            self.0.insert(index + 1, line.to_owned());
        }
    }

    pub(super) fn into_string(self) -> String {
        let mut text = self.0.join("\n");
        text.push('\n');
        text
    }
}

fn is_of(line: &str, key: &str) -> bool {
    line.split_once('=').is_some_and(|(it, _)| it == key)
}
