//! Rules of `[server]`, `[admin]`, `[store]` and `[journal]`.

use crate::{StoreOptions, draft::Draft, report::Report};

/// The least that a journal takes: one file.
const SMALLEST_JOURNAL: u64 = 4 << 20;

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    let (server, admin, store) = (&draft.server, &draft.admin, &draft.store);
    if let Some(options) = &server.options {
        if options.max_body_size > options.body_memory {
            let key = if server.has("body_memory") { "body_memory" } else { "max_body_size" };
            let message = format!(
                "server: a body of `max_body_size` ({}) never fits into `body_memory` ({})",
                options.max_body_size, options.body_memory
            );
            report.error(server.at(&[key]), message).hint("make `body_memory` several times `max_body_size`");
        }
        if options.cors.as_ref().is_some_and(|cors| cors.origins.is_empty()) {
            report
                .error(server.at(&["cors", "origins"]), "server: `cors` without an origin allows nothing")
                .hint("name the origins of your pages, or leave `cors` out");
        }
    }
    if let Some(options) = &admin.options {
        let ip = options.listen.get().ip();
        if !ip.is_loopback() && !options.allow_public {
            report
                .error(admin.at(&["listen"]), format!("admin: other machines can reach `{}`", options.listen))
                .hint("listen on 127.0.0.1, or say that this is meant: `allow_public = true`");
        }
    }
    if let Some(options) = draft.journal.options.as_ref().filter(|it| it.max_size.bytes() < SMALLEST_JOURNAL)
    {
        let message = format!("journal: `max_size` is {}, less than one file of it takes", options.max_size);
        report
            .error(draft.journal.at(&["max_size"]), message)
            .hint("write at least \"4MiB\"; \"1GiB\", which it is when left out, bridges a longer outage");
    }
    if let (Some(data), Some(control)) = (&server.options, &admin.options)
        && data.listen.collides(&control.listen)
    {
        let place = if admin.has("listen") { admin.at(&["listen"]) } else { server.at(&["listen"]) };
        let message = format!(
            "`[server]` listens on `{}` and `[admin]` on `{}`: only one of them can",
            data.listen, control.listen
        );
        report.error(place, message).hint("give them different ports");
    }
    if let Some(StoreOptions::Mongodb(options)) = &store.options {
        let name = &options.database;
        if name.is_empty()
            || name.len() > 63
            || name.contains(|c: char| c.is_control() || "/\\. \"$*<>:|?".contains(c))
        {
            report
                .error(
                    store.at(&["database"]),
                    format!("store: MongoDB cannot have a database named `{}`", name.escape_debug()),
                )
                .hint("a name has 1 to 63 characters and none of / \\ . \" $ * < > : | ? or space");
        }
    }
}
