//! Finds the position of an element in a list.

use crate::commands::arguments::symmetric;
use crate::commands::lists::is_same;
use crate::commands::spec::{Answer, Argv, Keys, Out, READONLY, commands};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::list::List;
use ferrite_protocol::budget::ELEMENT;
use ferrite_protocol::number::parse_integer;

commands! {
    "lpos", -3, READONLY, Keys::FIRST => lpos,
        "list", "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        "Finds elements of a list that equal one.";
}

/// Options of `LPOS`.
struct Search {
    /// Number of the first match to report; negative counts from the end.
    rank: i64,
    /// Most positions in the reply; `None` for a single position, not in an array.
    count: Option<usize>,
    /// Most elements to compare.
    compared_max: usize,
}

fn parse(options: &[&[u8]]) -> Result<Search, StoreError> {
    let mut search = Search {
        rank: 1,
        count: None,
        compared_max: usize::MAX,
    };
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(StoreError::Syntax);
        };
        let unsigned = |complaint| {
            parse_integer(value)
                .and_then(|number| usize::try_from(number).ok())
                .ok_or(StoreError::Refused(complaint))
        };
        // Zero means all.
        let or_all = |number| if number == 0 { usize::MAX } else { number };
        if name.eq_ignore_ascii_case(b"rank") {
            search.rank = symmetric(value)?;
            if search.rank == 0 {
                return Err(StoreError::Refused(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        } else if name.eq_ignore_ascii_case(b"count") {
            search.count = Some(or_all(unsigned("ERR COUNT can't be negative")?));
        } else if name.eq_ignore_ascii_case(b"maxlen") {
            search.compared_max = or_all(unsigned("ERR MAXLEN can't be negative")?);
        } else {
            return Err(StoreError::Syntax);
        }
    }
    Ok(search)
}

impl Search {
    fn run(&self, list: &List, element: &[u8], out: Out<'_>) -> Result<Vec<usize>, StoreError> {
        let skip = self.rank.unsigned_abs() as usize - 1;
        let most = self.count.unwrap_or(1);
        let mut elements = list.iter().enumerate();
        let mut found = Vec::new();
        let mut passed = 0;
        for _ in 0..self.compared_max {
            let next = if self.rank > 0 {
                elements.next()
            } else {
                elements.next_back()
            };
            let Some((at, other)) = next else { break };
            if !is_same(other, element, out)? {
                continue;
            }
            if passed < skip {
                passed += 1;
                continue;
            }
            found.push(at);
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }
}

fn lpos<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let search = parse(&argv[3..])?;
    let found = match view.read::<List>(argv[1])? {
        Some(list) => search.run(list, argv[2], out)?,
        None => Vec::new(),
    };
    match (search.count, found.first()) {
        (Some(_), _) => {
            out.array(found.len());
            for at in &found {
                out.charge(ELEMENT)?;
                out.int(*at as i64);
            }
        }
        (None, Some(at)) => out.int(*at as i64),
        (None, None) => out.null(),
    }
    Ok(())
}
