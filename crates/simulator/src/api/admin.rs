//! What is there in development mode only: sleeping, pausing, clearing caches.

use super::Cx;
use crate::http1::Answer;
use crate::router::Route;

/// The answer, if the route is one of these. Their bodies are not recorded: they are those of vLLM's source.
pub(crate) fn answer(cx: &Cx<'_>, route: &Route) -> Option<Answer> {
    let control = &cx.shared.control;
    Some(match route {
        Route::Sleep => {
            control.send_modify(|control| control.asleep = true);
            Answer::empty(200)
        }
        Route::WakeUp => {
            control.send_modify(|control| control.asleep = false);
            Answer::empty(200)
        }
        Route::IsSleeping => Answer::json(200, format!(r#"{{"is_sleeping":{}}}"#, control.borrow().asleep)),
        Route::Pause => {
            control.send_modify(|control| control.paused = true);
            Answer::json(200, r#"{"status":"paused"}"#)
        }
        Route::Resume => {
            control.send_modify(|control| control.paused = false);
            Answer::json(200, r#"{"status":"resumed"}"#)
        }
        Route::IsPaused => Answer::json(200, format!(r#"{{"is_paused":{}}}"#, control.borrow().paused)),
        Route::ResetPrefixCache => {
            cx.shared.forget_prefixes();
            Answer::empty(200)
        }
        Route::ResetCache => Answer::empty(200),
        _ => return None,
    })
}
