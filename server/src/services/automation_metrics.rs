//! Metrics of triggers, schedules and the outbox.

use ferrite_runtime::automation::figures::{
    AutomationFigures, OutboxFigures, ScheduleFigures, TriggerFigures,
};

use crate::functions::Functions;
use crate::services::metrics_page::Page;

pub(super) fn write(runtime: &Functions, page: &mut Page) {
    type TriggerMetric = (&'static str, &'static str, fn(&TriggerFigures) -> u64);
    type ScheduleMetric = (&'static str, &'static str, fn(&ScheduleFigures) -> u64);
    let AutomationFigures {
        pending_events,
        pending_bytes,
        triggers,
        schedules,
    } = runtime.automation_figures();
    page.single(
        "ferrite_trigger_pending_events",
        "gauge",
        "Events that wait to be delivered.",
        pending_events,
    );
    page.single(
        "ferrite_trigger_pending_bytes",
        "gauge",
        "Bytes of those events.",
        pending_bytes,
    );
    let metrics: [TriggerMetric; 5] = [
        (
            "ferrite_trigger_events_total",
            "Events that triggers got.",
            |trigger| trigger.events,
        ),
        (
            "ferrite_trigger_delivered_total",
            "Events whose call succeeded.",
            |trigger| trigger.delivered,
        ),
        (
            "ferrite_trigger_failures_total",
            "Calls by triggers that failed or refused.",
            |trigger| trigger.failures,
        ),
        (
            "ferrite_trigger_given_up_total",
            "Events that were given up.",
            |trigger| trigger.given_up,
        ),
        (
            "ferrite_trigger_not_given_up_total",
            "Times that an event was to be given up and could not, because nothing could be written.",
            |trigger| trigger.not_given_up,
        ),
    ];
    for (name, help, value) in metrics {
        page.head(name, "counter", help);
        for trigger in &triggers {
            let labels = format!("{{trigger=\"{}\"}}", trigger.name);
            page.sample(name, &labels, value(trigger));
        }
    }
    let metrics: [ScheduleMetric; 2] = [
        (
            "ferrite_schedule_runs_total",
            "Runs of schedules.",
            |schedule| schedule.runs,
        ),
        (
            "ferrite_schedule_errors_total",
            "Runs of schedules that failed.",
            |schedule| schedule.errors,
        ),
    ];
    for (name, help, value) in metrics {
        page.head(name, "counter", help);
        for schedule in &schedules {
            let labels = format!("{{schedule=\"{}\"}}", schedule.id);
            page.sample(name, &labels, value(schedule));
        }
    }
    if let Some(figures) = runtime.outbox_figures() {
        write_outbox(&figures, page);
    }
}

fn write_outbox(figures: &OutboxFigures, page: &mut Page) {
    // So that the sum over all servers before an engine counts each request once.
    let here = |count: usize| if figures.is_elsewhere { 0 } else { count };
    page.single(
        "ferrite_outbox_pending_requests",
        "gauge",
        "Requests of the outbox that wait to be sent.",
        here(figures.pending),
    );
    page.single(
        "ferrite_outbox_pending_bytes",
        "gauge",
        "Bytes of those requests.",
        here(figures.pending_bytes),
    );
    page.single(
        "ferrite_outbox_dead_requests",
        "gauge",
        "Requests of the outbox that were given up and are kept.",
        here(figures.dead),
    );
    let counters = [
        (
            "ferrite_outbox_queued_total",
            "Requests that calls have committed.",
            figures.queued,
        ),
        (
            "ferrite_outbox_sent_total",
            "Requests of the outbox that a server has accepted.",
            figures.sent,
        ),
        (
            "ferrite_outbox_failures_total",
            "Tries of requests of the outbox that failed.",
            figures.failures,
        ),
        (
            "ferrite_outbox_given_up_total",
            "Requests of the outbox that were given up.",
            figures.given_up,
        ),
    ];
    for (name, help, value) in counters {
        page.single(name, "counter", help, value);
    }
}
