//! The embedded keyspace: typed values, transactions, durability.
