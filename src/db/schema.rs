// @generated automatically by Diesel CLI.

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Refresh tokens of sessions: one that is live, and those that were used, to recognise a stolen one.
    refresh_tokens (token_hash) {
        /// SHA-256 of the token; the token itself is never stored.
        token_hash -> Bytea,
        /// Which session it continues; ending the session deletes it.
        session_id -> Uuid,
        /// When it was handed out.
        created_at -> Timestamptz,
        /// When it was exchanged for its successor.
        used_at -> Nullable<Timestamptz>,
        /// The token it was exchanged for.
        successor_hash -> Nullable<Bytea>,
        /// That token, encrypted with this one, so that a repeated refresh gets the same; wiped soon after.
        sealed_successor -> Nullable<Bytea>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Sessions that were ended before their time, for as long as an access token of theirs can live.
    revoked_sessions (session_id) {
        /// The session, whose row is gone.
        session_id -> Uuid,
        /// When it was ended.
        revoked_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// What happened to accounts: who, what, when, from where. Kept for a limited time; no secrets.
    security_events (id) {
        /// Identifier.
        id -> Uuid,
        /// Whose account; none for a login to an unknown address and after the account is deleted.
        user_id -> Nullable<Uuid>,
        /// What happened.
        kind -> Text,
        /// When.
        created_at -> Timestamptz,
        /// Where the client was.
        ip_address -> Nullable<Inet>,
        /// What the client said it was.
        #[max_length = 512]
        user_agent -> Nullable<Varchar>,
        /// In which session, which may have ended since.
        session_id -> Nullable<Uuid>,
        /// In which request, as in the logs and in X-Request-Id.
        #[max_length = 128]
        request_id -> Nullable<Varchar>,
        /// What else there is to know.
        detail -> Jsonb,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Sign-ins: each register or login opens one; ending it deletes the row.
    sessions (id) {
        /// Random identifier.
        id -> Uuid,
        /// Whose session it is; deleting the user deletes it.
        user_id -> Uuid,
        /// When the session was opened.
        created_at -> Timestamptz,
        /// When the session ends unless it is refreshed before.
        expires_at -> Timestamptz,
        /// When it was last used, to about a minute.
        last_seen_at -> Timestamptz,
        /// What the client said it was at the last login or refresh.
        #[max_length = 512]
        user_agent -> Nullable<Varchar>,
        /// Where the client was at the last login or refresh.
        ip_address -> Nullable<Inet>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// How many attempts there were of late, for each thing that is counted.
    throttle_buckets (key) {
        /// SHA-256 of what is counted, such as logins from an address.
        key -> Bytea,
        /// Attempts, less those that time has forgiven.
        level -> Float8,
        /// When the level was right.
        updated_at -> Timestamptz,
        /// When it was last noted that attempts are refused.
        refused_at -> Nullable<Timestamptz>,
        /// From when on the row says nothing any more.
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// The number of each user's last event; its lock puts their events in order.
    todo_event_counters (user_id) {
        /// Whose events.
        user_id -> Uuid,
        /// Number of the last event.
        last_number -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// What happened to todos; written by triggers. Kept for a limited time.
    todo_events (user_id, number) {
        /// Whose todo.
        user_id -> Uuid,
        /// Place among the events of its user, without gaps.
        number -> Int8,
        /// Identifier for clients.
        id -> Uuid,
        /// Which todo; it may be gone.
        todo_id -> Uuid,
        /// What happened.
        kind -> Text,
        /// When.
        created_at -> Timestamptz,
        /// Who did it; none where it was not done by a request.
        actor_id -> Nullable<Uuid>,
        /// In which request, as in the logs and in X-Request-Id.
        #[max_length = 128]
        request_id -> Nullable<Varchar>,
        /// The fields that changed, before; none for a new todo and once it is purged.
        before -> Nullable<Jsonb>,
        /// The fields that changed, afterwards; none once it is purged.
        after -> Nullable<Jsonb>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// What users want to do.
    todos (user_id, id) {
        /// Whose it is; deleting the user deletes it.
        user_id -> Uuid,
        /// Identifier, unique among those of its owner: clients may make it.
        id -> Uuid,
        /// What is to be done, in a line.
        #[max_length = 200]
        title -> Varchar,
        /// What else there is to say.
        #[max_length = 10000]
        description -> Varchar,
        /// How important it is.
        priority -> Text,
        /// By when it is to be done.
        due_at -> Nullable<Timestamptz>,
        /// Words to sort it by.
        tags -> Array<Nullable<Text>>,
        /// Raised by every change; kept by a trigger.
        version -> Int8,
        /// When it was made.
        created_at -> Timestamptz,
        /// When it last changed; kept by a trigger.
        updated_at -> Timestamptz,
        /// Whether it is done; goes with completed_at, kept by triggers.
        completed -> Bool,
        /// When it was done.
        completed_at -> Nullable<Timestamptz>,
        /// When it was put into the trash.
        deleted_at -> Nullable<Timestamptz>,
        /// SHA-256 of what it was made with, to recognise a repeated request; none where the service made the identifier.
        creation_hash -> Nullable<Bytea>,
        /// Whether it is in the trash.
        in_trash -> Bool,
        /// The words and tags it is found by.
        terms -> Tsvector,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Accounts.
    users (id) {
        /// Random identifier, the subject of access tokens.
        id -> Uuid,
        /// Address as entered, trimmed and NFKC-normalised; unique whatever its case.
        #[max_length = 255]
        email -> Varchar,
        /// argon2id in PHC format; bcrypt in rows from the original system until their next login.
        #[max_length = 255]
        hashed_password -> Varchar,
        /// Name shown to people.
        #[max_length = 255]
        name -> Varchar,
        /// When the account was made.
        created_at -> Timestamptz,
        /// When the row last changed; kept by a trigger.
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// How far the write-ahead log had come after each user's last write.
    write_positions (user_id) {
        /// The user, whichever of their sessions wrote.
        user_id -> Uuid,
        /// Bytes from the beginning of the log, a pg_lsn as a number.
        position -> Int8,
    }
}

diesel::joinable!(refresh_tokens -> sessions (session_id));
diesel::joinable!(security_events -> users (user_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(todo_event_counters -> users (user_id));
diesel::joinable!(todo_events -> users (user_id));
diesel::joinable!(todos -> users (user_id));
diesel::joinable!(write_positions -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    refresh_tokens,
    revoked_sessions,
    security_events,
    sessions,
    throttle_buckets,
    todo_event_counters,
    todo_events,
    todos,
    users,
    write_positions,
);
