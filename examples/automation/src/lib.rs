//! Functions that run by themselves: when a session ends, when a record changes, and every night.
//!
//! The attributes become a part of the module, so that `WASM.LOAD` adds the triggers and the schedule, and
//! `WASM.UNLOAD` removes them.

use std::collections::BTreeMap;

use ferrite_wasm_sdk::*;

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// Gives back what a session had reserved, when it ends: the value that expired names it.
///
/// # Errors
///
/// `stock:ITEM` holds something else than a number.
#[ferrite_function]
#[ferrite::on(keys = "session:*", events = "expired")]
pub fn release(
    _session: &str,
    _event: &str,
    _type: &str,
    item: &str,
    _rest: Vec<&[u8]>,
) -> Result<(), Error> {
    if !item.is_empty() {
        ferrite::incr(format!("stock:{item}"))?;
    }
    Ok(())
}

/// Deletes the page that was made of a product, whatever happens to the product.
///
/// # Errors
///
/// The permissions do not cover the page.
#[ferrite_function]
#[ferrite::on(keys = "product:*", events = "*")]
pub fn forget_page(product: &str, _event: Vec<&[u8]>) -> Result<(), Error> {
    let id = product.strip_prefix("product:").unwrap_or(product);
    ferrite::del(format!("page:{id}"))?;
    Ok(())
}

/// Adds up the sales of a day, by default of yesterday: the counters `sales:DAY:SHOP` become the fields of
/// `report:DAY`. Replies their number.
///
/// It may run twice for a day: counters that came late are added to what is there.
///
/// # Errors
///
/// `BADSALES` where a counter is no integer.
#[ferrite_function]
#[ferrite::cron("5 0 * * *", missed = "once")]
pub fn roll_up(day: Option<&str>) -> Result<usize, Error> {
    let day = match day {
        Some(day) => day.to_owned(),
        None => date(ferrite::time_millis() - DAY_MILLIS),
    };
    let prefix = format!("sales:{day}:");
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for key in ferrite::scan_keys::<String>(&format!("{prefix}*")) {
        let key = key?;
        // A key that came twice is gone the second time.
        let Some(count) = ferrite::get::<String>(&key)? else {
            continue;
        };
        let count: i64 = count
            .parse()
            .map_err(|_| Error::new(format!("BADSALES {key} is not an integer")))?;
        let shop = key.strip_prefix(&prefix).unwrap_or(&key);
        *sums.entry(shop.to_owned()).or_default() += count;
        ferrite::del(&key)?;
    }
    let report = format!("report:{day}");
    for (shop, sum) in &sums {
        ferrite::call::<i64>("HINCRBY", (&report, shop, *sum))?;
    }
    Ok(sums.len())
}

/// The date of a time in milliseconds since 1970, such as `2024-01-15`. The algorithm is `civil_from_days` of
/// Howard Hinnant's "chrono-compatible low-level date algorithms".
fn date(millis: i64) -> String {
    let days = millis.div_euclid(DAY_MILLIS) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::{DAY_MILLIS, date, forget_page, release, roll_up};
    use ferrite_wasm_sdk::mock::Store;
    use ferrite_wasm_sdk::{Value, ferrite};

    #[test]
    fn a_session_gives_back_what_it_reserved() {
        let store = Store::new();
        store.command(&["SET", "stock:lamp", "4"]);
        assert_eq!(
            release("session:1", "expired", "string", "lamp", vec![]),
            Ok(())
        );
        assert_eq!(
            release("session:2", "expired", "unknown", "", vec![]),
            Ok(())
        );
        assert_eq!(ferrite::get::<i64>("stock:lamp"), Ok(Some(5)));
    }

    #[test]
    fn a_change_deletes_the_page() {
        let store = Store::new();
        store.command(&["SET", "page:7", "<html>"]);
        store.command(&["SET", "page:8", "<html>"]);
        assert_eq!(forget_page("product:7", vec![]), Ok(()));
        assert_eq!(ferrite::exists("page:7"), Ok(false));
        assert_eq!(ferrite::exists("page:8"), Ok(true));
    }

    #[test]
    fn the_sales_of_a_day_become_a_report() {
        let store = Store::new();
        for (key, count) in [
            ("sales:2024-01-15:east", "3"),
            ("sales:2024-01-15:west", "4"),
            ("sales:2024-01-16:east", "1"),
        ] {
            store.command(&["SET", key, count]);
        }
        assert_eq!(roll_up(Some("2024-01-15")), Ok(2));
        assert_eq!(roll_up(Some("2024-01-15")), Ok(0));
        store.command(&["SET", "sales:2024-01-15:east", "2"]);
        assert_eq!(roll_up(Some("2024-01-15")), Ok(1));
        let field = |name: &str| ferrite::hget::<i64>("report:2024-01-15", name);
        assert_eq!((field("east"), field("west")), (Ok(Some(5)), Ok(Some(4))));
        assert_eq!(ferrite::exists("sales:2024-01-16:east"), Ok(true));
        store.command(&["SET", "sales:2024-01-16:east", "x"]);
        let error = roll_up(Some("2024-01-16")).expect_err("it is no number");
        assert!(error.to_string().starts_with("BADSALES "), "{error}");
        // Yesterday is meant if no day is given.
        let yesterday = date(ferrite::time_millis() - DAY_MILLIS);
        store.command(&["SET", &format!("sales:{yesterday}:east"), "1"]);
        assert_eq!(roll_up(None), Ok(1));
        let report = store.command(&["HGET", &format!("report:{yesterday}"), "east"]);
        assert_ne!(report, Value::Null);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (19_737, "2024-01-15"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(date(days * DAY_MILLIS + 5), expected);
        }
    }
}
