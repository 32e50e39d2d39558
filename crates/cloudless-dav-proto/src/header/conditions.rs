use thiserror::Error;

/// The most conditions in one header.
const CONDITIONS_MAX: usize = 256;

/// The `If` header (RFC 4918 §10.4): the request is carried out when one of the lists holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct If {
    /// The lists, at least one.
    pub lists: Vec<List>,
}

/// Conditions on the state of one resource, all of which have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The resource, a URL or a path as the client wrote it; `None` is that of the request.
    pub resource: Option<String>,
    /// The conditions, at least one.
    pub conditions: Vec<StateCondition>,
}

/// One condition of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCondition {
    /// Whether the state has to be another (`Not`).
    pub negate: bool,
    /// The state.
    pub state: State,
}

/// A state that a resource may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The entity tag.
    ETag {
        /// The tag without its quotes.
        tag: String,
        /// Whether it is a weak one, `W/"…"`.
        weak: bool,
    },
    /// A state token: that of a lock, or a sync token (RFC 6578 §5). `DAV:no-lock` is no resource's
    /// state (RFC 4918 §10.4.8).
    Token(String),
}

/// Why an `If` header cannot be understood. The request has to be refused with 400: carried out
/// without its condition it could overwrite something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IfError {
    /// It is not as RFC 4918 §10.4.2 has it.
    #[error("the If header cannot be understood from byte {offset} on")]
    Malformed {
        /// Where it goes wrong.
        offset: usize,
    },
    /// More conditions than any client needs.
    #[error("the If header has more than {CONDITIONS_MAX} conditions")]
    TooManyConditions,
}

impl If {
    /// Reads the value of `If`.
    ///
    /// # Errors
    ///
    /// When it is malformed or too long.
    pub fn parse(value: &str) -> Result<Self, IfError> {
        let mut reader = Reader { value, at: 0 };
        let mut lists = Vec::new();
        let mut resource = None;
        let mut count = 0;
        while reader.skip_space() {
            if reader.take("<") {
                // A tag is for the lists after it, and an untagged list comes before all tags or
                // not at all.
                if resource.is_none() && !lists.is_empty() {
                    return Err(reader.malformed());
                }
                resource = Some(reader.until('>')?.to_owned());
                reader.skip_space();
                reader.expect_next("(")?;
                continue;
            }
            reader.expect("(")?;
            let mut conditions = Vec::new();
            loop {
                reader.skip_space();
                if reader.take(")") {
                    break;
                }
                count += 1;
                if count > CONDITIONS_MAX {
                    return Err(IfError::TooManyConditions);
                }
                conditions.push(reader.condition()?);
            }
            if conditions.is_empty() {
                return Err(reader.malformed());
            }
            lists.push(List {
                resource: resource.clone(),
                conditions,
            });
        }
        if lists.is_empty() {
            return Err(reader.malformed());
        }
        Ok(Self { lists })
    }

    /// Whether the request may be carried out. `is_in` tells whether a resource, `None` for that of
    /// the request, is in a state; a resource that is not there is in none.
    ///
    /// # Errors
    ///
    /// When `is_in` fails.
    pub fn holds<E>(
        &self,
        mut is_in: impl FnMut(Option<&str>, &State) -> Result<bool, E>,
    ) -> Result<bool, E> {
        'lists: for list in &self.lists {
            for condition in &list.conditions {
                if is_in(list.resource.as_deref(), &condition.state)? == condition.negate {
                    continue 'lists;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

struct Reader<'a> {
    value: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.value[self.at..]
    }

    /// Skips white space; whether anything follows.
    fn skip_space(&mut self) -> bool {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        !self.rest().is_empty()
    }

    fn take(&mut self, token: &str) -> bool {
        let is_there = self.rest().starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn expect(&mut self, token: &str) -> Result<(), IfError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn expect_next(&self, token: &str) -> Result<(), IfError> {
        if self.rest().starts_with(token) {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn until(&mut self, end: char) -> Result<&'a str, IfError> {
        let rest = self.rest();
        let len = rest.find(end).ok_or_else(|| self.malformed())?;
        if len == 0 {
            return Err(self.malformed());
        }
        self.at += len + end.len_utf8();
        Ok(&rest[..len])
    }

    fn condition(&mut self) -> Result<StateCondition, IfError> {
        let word = self.rest().get(..3).unwrap_or_default();
        let negate = word.eq_ignore_ascii_case("not");
        if negate {
            self.at += word.len();
            self.skip_space();
        }
        let state = if self.take("<") {
            State::Token(self.until('>')?.to_owned())
        } else {
            self.expect("[")?;
            let weak = self.take("W/");
            self.expect("\"")?;
            let rest = self.rest();
            let len = rest.find('"').ok_or_else(|| self.malformed())?;
            self.at += len + 1;
            self.expect("]")?;
            State::ETag {
                tag: rest[..len].to_owned(),
                weak,
            }
        };
        Ok(StateCondition { negate, state })
    }

    fn malformed(&self) -> IfError {
        IfError::Malformed { offset: self.at }
    }
}
