//! The pool on one thread, where every step is decided.

mod crowd;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{EnterError, Moment, Pool, PoolOptions};

fn pool(instances_max: usize, waiting_max: usize) -> Pool<u32> {
    Pool::new(PoolOptions {
        instances_min: 1,
        instances_max,
        waiting_max,
        idle_timeout: Duration::from_secs(1),
    })
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_was_used_last_is_handed_out_first() {
    let pool = pool(4, 0);
    let (one, two) = (pool.try_enter(), pool.try_enter());
    one.expect("room for one").put_back(1);
    two.expect("room for two").put_back(2);
    let mut permit = pool.try_enter().expect("room again");
    assert_eq!(permit.take(), Some(2));
    drop(permit);
    assert_eq!(
        pool.usage().idle,
        1,
        "what was taken and not put back is gone"
    );
    drop(pool.try_enter());
    assert_eq!(pool.usage().idle, 1, "what was not taken stays");
}

#[test]
fn calls_wait_in_order_up_to_a_bound() {
    let pool = pool(1, 2);
    let running = pool.try_enter().expect("the first");
    let (mut a, mut b, mut c) = (pin!(pool.enter()), pin!(pool.enter()), pin!(pool.enter()));
    assert!(poll(a.as_mut()).is_pending());
    assert!(poll(b.as_mut()).is_pending());
    assert!(matches!(
        poll(c.as_mut()),
        Poll::Ready(Err(EnterError::Busy))
    ));
    drop(running);
    assert!(poll(b.as_mut()).is_pending(), "the one before is first");
    assert!(pool.try_enter().is_none(), "nobody overtakes");
    let Poll::Ready(Ok(permit)) = poll(a.as_mut()) else {
        panic!("the turn was handed over");
    };
    drop(permit);
    assert!(matches!(poll(b.as_mut()), Poll::Ready(Ok(_))));
}

#[test]
fn a_dropped_waiter_passes_its_turn_on() {
    let pool = pool(1, 2);
    let running = pool.try_enter().expect("the first");
    let mut b = Box::pin(pool.enter());
    let mut c = Box::pin(pool.enter());
    assert!(poll(b.as_mut()).is_pending());
    assert!(poll(c.as_mut()).is_pending());
    drop(running);
    drop(b);
    assert!(matches!(poll(c.as_mut()), Poll::Ready(Ok(_))));
    drop(c);
    assert_eq!(pool.usage().running, 0);
}

#[test]
fn waiting_calls_can_be_refused() {
    let pool = pool(1, 2);
    let running = pool.try_enter().expect("the first");
    let mut waiting = pin!(pool.enter());
    assert!(poll(waiting.as_mut()).is_pending());
    pool.cancel_waiting();
    assert!(matches!(
        poll(waiting.as_mut()),
        Poll::Ready(Err(EnterError::Cancelled))
    ));
    drop(running);
    assert_eq!(pool.usage().running, 0);
}

#[test]
fn idle_things_grow_old_down_to_the_minimum() {
    let pool = pool(4, 0);
    let at = |millis| Moment::default().after(Duration::from_millis(millis));
    assert_eq!(pool.trim(at(0)), (vec![], None));
    assert_eq!(pool.stock(0), None);
    assert_eq!(pool.stock(1), None);
    assert_eq!(pool.trim(at(100)), (vec![], Some(at(350))));
    assert_eq!(pool.stock(2), None);
    assert_eq!(pool.trim(at(1099)), (vec![], Some(at(1349))));
    // A second after the look that found them first, which was the one before for the last.
    let (mut gone, next) = pool.trim(at(1100));
    gone.sort_unstable();
    assert_eq!((gone, next), (vec![0, 1], Some(at(1350))));
    assert!(pool.trim(at(5000)).0.is_empty(), "one stays");
    assert_eq!(pool.drain(), vec![2]);
    assert_eq!(pool.trim(at(6000)), (vec![], None));
}
