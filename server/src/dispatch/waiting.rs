//! Waits until a request can be answered, and answers it.

use crate::dispatch::progress::{Pending, Progress};
use crate::dispatch::{data_commands, guarded_write, transaction};
use crate::request::{AfterReply, RequestContext};
use crate::scheduling::futures::with_timeout;

/// Waits until the request can be answered, and answers it.
pub(crate) async fn finish(
    mut pending: Pending<'_>,
    context: &mut RequestContext<'_>,
) -> AfterReply {
    loop {
        let progress = match pending {
            Pending::Write {
                retry,
                command,
                argv,
            } => {
                retry.await;
                data_commands::execute(context, command, argv)
            }
            Pending::Guarded { command, argv } => {
                guarded_write::execute(context, command, argv).await;
                return AfterReply::KeepOpen;
            }
            Pending::Exec(retry) => {
                retry.await;
                transaction::execute(context)
            }
            Pending::ExecWithCalls => {
                transaction::execute_with_calls(context).await;
                return AfterReply::KeepOpen;
            }
            Pending::Blocked(blocked) => {
                let _counted = context.state.stats.blocked.enter();
                let limit = blocked.timeout().unwrap_or_default();
                // The reply differs if the request timed out, so the outcome is not needed here.
                let _ = with_timeout(limit, blocked.served()).await;
                blocked.finish(&mut context.session.store, context.reply);
                return AfterReply::KeepOpen;
            }
        };
        match progress {
            Progress::Done(after) => return after,
            Progress::Waiting(next) => pending = next,
        }
    }
}
