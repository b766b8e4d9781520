// @generated automatically by Diesel CLI.

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Refresh tokens: the live one of each session, and used ones to detect the reuse of a stolen token.
    refresh_tokens (token_hash) {
        /// SHA-256 of the token; the token itself is never stored.
        token_hash -> Bytea,
        /// Session of the token. Ending the session deletes the token.
        session_id -> Uuid,
        /// Time of issue.
        created_at -> Timestamptz,
        /// Time of the exchange for its successor; NULL while the token is live.
        used_at -> Nullable<Timestamptz>,
        /// Hash of the successor; NULL while the token is live and after the successor is deleted.
        successor_hash -> Nullable<Bytea>,
        /// Successor encrypted under this token, so that a retried refresh is idempotent; erased after the reuse window.
        sealed_successor -> Nullable<Bytea>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Sessions ended before their expiry, written by a trigger; kept for the longest lifetime of an access token.
    revoked_sessions (session_id) {
        /// Identifier of the session, whose row is deleted.
        session_id -> Uuid,
        /// Time of the revocation, by the database's clock.
        revoked_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Security log of accounts, without secrets. Rows are deleted after a retention period.
    security_events (id) {
        /// Random identifier.
        id -> Uuid,
        /// Account; NULL for a login to an unknown address and for ACCOUNT_DELETED. Deleting the user deletes the event.
        user_id -> Nullable<Uuid>,
        /// Kind of event, such as LOGIN_FAILED.
        kind -> Text,
        /// Time of the event.
        created_at -> Timestamptz,
        /// IP address of the client; NULL for an operator at the command line.
        ip_address -> Nullable<Inet>,
        /// User-Agent of the client, cut to 512 characters; NULL if it sent none.
        #[max_length = 512]
        user_agent -> Nullable<Varchar>,
        /// Session concerned, which may have ended since; NULL if none or several.
        session_id -> Nullable<Uuid>,
        /// Request identifier, as in the log and in X-Request-Id; NULL for an operator at the command line.
        #[max_length = 128]
        request_id -> Nullable<Varchar>,
        /// Further details for operators, an object by kind; {} by default.
        detail -> Jsonb,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Sessions, one per registration or login. Ending a session deletes its row.
    sessions (id) {
        /// Random identifier, the claim sid of access tokens.
        id -> Uuid,
        /// Owner. Deleting the user deletes the session.
        user_id -> Uuid,
        /// Time of the login.
        created_at -> Timestamptz,
        /// Expiry; each refresh extends it, up to the longest lifetime of a session.
        expires_at -> Timestamptz,
        /// Time of the last use, to about a minute.
        last_seen_at -> Timestamptz,
        /// User-Agent of the client at the last login or refresh, cut to 512 characters; NULL if it sent none.
        #[max_length = 512]
        user_agent -> Nullable<Varchar>,
        /// IP address of the client at the last login or refresh; NULL if unknown.
        ip_address -> Nullable<Inet>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Rate-limit counters of recent attempts (leaky buckets), and markers of addresses where an owner has logged in.
    throttle_buckets (key) {
        /// SHA-256 of scope and subject, such as logins from one address.
        key -> Bytea,
        /// Counted attempts minus leaked and refunded ones, as of updated_at.
        level -> Float8,
        /// Time of the last counted attempt.
        updated_at -> Timestamptz,
        /// Time of the last noted refusal, which limits how often refusals are recorded; NULL if none.
        refused_at -> Nullable<Timestamptz>,
        /// Time after which the row has no effect and can be deleted.
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Number of each user's last event. The row lock serialises the user's changes, so that events commit in order.
    todo_event_counters (user_id) {
        /// Owner of the events. Deleting the user deletes the counter.
        user_id -> Uuid,
        /// Number of the last event, from 1.
        last_number -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// History of todos, written by triggers. Rows are deleted after a retention period.
    todo_events (user_id, number) {
        /// Owner of the todo. Deleting the user deletes the event.
        user_id -> Uuid,
        /// Position among the user's events, from 1 without gaps.
        number -> Int8,
        /// Random identifier, shown to clients; unique per user.
        id -> Uuid,
        /// Identifier of the todo, which may have been purged.
        todo_id -> Uuid,
        /// Kind of change, such as COMPLETED.
        kind -> Text,
        /// Time of the change.
        created_at -> Timestamptz,
        /// User who made the change; NULL outside of requests, such as in housekeeping.
        actor_id -> Nullable<Uuid>,
        /// Request identifier, as in the log and in X-Request-Id; NULL outside of requests.
        #[max_length = 128]
        request_id -> Nullable<Varchar>,
        /// Old values of the changed columns; NULL for CREATED and once the todo is purged.
        before -> Nullable<Jsonb>,
        /// New values of the changed columns; NULL once the todo is purged.
        after -> Nullable<Jsonb>,
        /// Identifiers of the events that this one reverts; NULL if it reverts none.
        reverts -> Nullable<Array<Nullable<Uuid>>>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Todos, including the trash.
    todos (user_id, id) {
        /// Owner. Deleting the user deletes the todo.
        user_id -> Uuid,
        /// Identifier, unique per owner; a client may generate it.
        id -> Uuid,
        /// Title, one trimmed line of 1 to 200 characters.
        #[max_length = 200]
        title -> Varchar,
        /// Free-form notes, at most 10,000 characters; empty by default.
        #[max_length = 10000]
        description -> Varchar,
        /// Priority: NONE (the default), LOW, MEDIUM or HIGH.
        priority -> Text,
        /// Due time; NULL if none.
        due_at -> Nullable<Timestamptz>,
        /// Labels for filtering, in the order given: at most 20, none of them NULL; empty by default.
        tags -> Array<Nullable<Text>>,
        /// Version for optimistic locking, from 1; incremented by a trigger with every change.
        version -> Int8,
        /// Time of creation.
        created_at -> Timestamptz,
        /// Time of the last change; set by a trigger.
        updated_at -> Timestamptz,
        /// True if the todo is completed; kept consistent with completed_at by triggers.
        completed -> Bool,
        /// Time of completion; NULL while the todo is open.
        completed_at -> Nullable<Timestamptz>,
        /// Time of the move to the trash; NULL outside of it.
        deleted_at -> Nullable<Timestamptz>,
        /// SHA-256 of the client's input, for idempotent creation; NULL if the service generated the identifier.
        creation_hash -> Nullable<Bytea>,
        /// True if the todo is in the trash; generated from deleted_at.
        in_trash -> Bool,
        /// Search terms: the words of title and description, and the tags, each prefixed with owner and kind; generated.
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
        /// Email address as entered, trimmed and NFKC-normalised; unique regardless of case.
        #[max_length = 255]
        email -> Varchar,
        /// Password hash: argon2id in PHC format; bcrypt for imported accounts until their next login.
        #[max_length = 255]
        hashed_password -> Varchar,
        /// Display name.
        #[max_length = 255]
        name -> Varchar,
        /// Time of creation.
        created_at -> Timestamptz,
        /// Time of the last change; set by a trigger.
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::db::types::*;

    /// Position of the write-ahead log after each user's last write, for read-your-writes; written only with replicas.
    write_positions (user_id) {
        /// User, in any session. Deleting the user deletes the row.
        user_id -> Uuid,
        /// WAL position in bytes: the distance of its pg_lsn from 0/0.
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
