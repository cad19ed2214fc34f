//! Orders: stock, balances, carts. All or nothing, also where a call fails half-way.

use ferrite_wasm_sdk::*;
use serde::Deserialize;

/// Reserves all items of an order or none; how many pieces that were.
#[ferrite_function]
pub fn inventory_reserve(
    stock: &str,
    order: &str,
    items: Vec<(String, i64)>,
) -> Result<i64, Error> {
    for (item, count) in &items {
        let left: i64 = ferrite::hget(stock, item)?.unwrap_or(0);
        if left < *count {
            return Err(Error::new(format!("OUTOFSTOCK {item} has {left} left")));
        }
    }
    for (item, count) in &items {
        ferrite::call::<()>("HINCRBY", (stock, item, -count))?;
        ferrite::call::<()>("HINCRBY", (order, item, *count))?;
    }
    Ok(items.iter().map(|(_, count)| count).sum())
}

/// Moves an amount between two balances; both balances.
#[ferrite_function]
pub fn transfer(from: &str, to: &str, amount: i64) -> Result<(i64, i64), Error> {
    if amount <= 0 {
        return Err(Error::new("BADAMOUNT an amount is more than 0"));
    }
    let balance: i64 = ferrite::get(from)?.unwrap_or(0);
    if balance < amount {
        return Err(Error::new(format!("INSUFFICIENT the balance is {balance}")));
    }
    Ok((
        ferrite::incr_by(from, -amount)?,
        ferrite::incr_by(to, amount)?,
    ))
}

/// An item of a cart.
#[derive(Deserialize)]
pub struct Item {
    /// Article.
    pub sku: String,
    /// Number of pieces.
    pub count: i64,
}

/// Adds up a cart that comes as JSON.
#[ferrite_function]
pub fn cart_total(prices: &str, cart: Json<Vec<Item>>) -> Result<i64, Error> {
    let mut total = 0;
    for Item { sku, count } in cart.0 {
        let price: Option<i64> = ferrite::hget(prices, &sku)?;
        let price = price.ok_or_else(|| Error::new(format!("NOPRICE {sku} has no price")))?;
        total += price * count;
    }
    Ok(total)
}
