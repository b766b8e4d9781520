//! What the server says of itself, of the role and of its limits.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::report::Finding;
use crate::Clock;
use crate::db::PoolSettings;

/// The oldest version that the migrations run on.
const OLDEST: i32 = 140_000;
/// From here on clocks that differ are worth a warning: tokens live by this machine's, rows by the server's.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// The service's tables.
const TABLES: [&str; 10] = [
    "refresh_tokens",
    "revoked_sessions",
    "security_events",
    "sessions",
    "throttle_buckets",
    "todo_event_counters",
    "todo_events",
    "todos",
    "users",
    "write_positions",
];

/// What one query finds out.
#[derive(Debug, QueryableByName)]
pub(super) struct Facts {
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Text)]
    version_text: String,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(super) role: String,
    #[diesel(sql_type = Bool)]
    superuser: bool,
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Bool)]
    can_create: bool,
    #[diesel(sql_type = Nullable<Text>)]
    lacks: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    timeouts: Vec<String>,
    #[diesel(sql_type = BigInt)]
    usable: i64,
    #[diesel(sql_type = BigInt)]
    used: i64,
}

const QUERY: &str = "\
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
    clock_timestamp() AS now, current_user::text AS role, rolsuper AS superuser, current_schema()::text AS schema,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS can_create,
    (SELECT string_agg(privilege || ' on ' || name, ', ')
        FROM unnest($1) AS name, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
        WHERE NOT has_table_privilege(to_regclass(name), privilege)) AS lacks,
    (SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM unnest(ARRAY['statement_timeout', 'lock_timeout',
        'idle_in_transaction_session_timeout']) AS name WHERE current_setting(name) = '0') AS timeouts,
    least(current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
            - coalesce(current_setting('reserved_connections', true), '0')::bigint,
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
        nullif(rolconnlimit, -1)) AS usable,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS used
FROM pg_roles WHERE rolname = current_user";

/// Asks, and compares the clocks.
pub(super) async fn ask(conn: &mut AsyncPgConnection) -> diesel::QueryResult<(Facts, Finding)> {
    let clock = Clock::system();
    let asked = clock.now();
    let facts: Facts =
        diesel::sql_query(QUERY).bind::<Array<Text>, _>(TABLES.to_vec()).get_result(conn).await?;
    let skew = judge_clock(asked, facts.now, clock.now());
    Ok((facts, skew))
}

/// What is different for another database.
pub(super) async fn identity(conn: &mut AsyncPgConnection) -> Result<String, String> {
    #[derive(QueryableByName)]
    struct Identity {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let query = "SELECT current_database() || ' since ' || pg_postmaster_start_time() AS text";
    let identity = diesel::sql_query(query).get_result::<Identity>(conn).await;
    identity.map(|identity| identity.text).map_err(|error| error.to_string())
}

/// The server's time lies between those before and after where the clocks agree.
fn judge_clock(before: DateTime<Utc>, server: DateTime<Utc>, after: DateTime<Utc>) -> Finding {
    let (skew, direction) =
        if server < before { (before - server, "behind") } else { (server - after, "ahead of") };
    let seconds = skew.as_seconds_f64();
    if skew > SKEW {
        let found = format!("the server's is {seconds:.0} s {direction} this machine's");
        return Finding::warning(
            "clock",
            found,
            "set the one that is wrong, for example: timedatectl set-ntp true",
        );
    }
    Finding::ok("clock", "agrees with the server's within 5 s")
}

/// Judges what was found out.
pub(super) fn judge(facts: &Facts, local: bool, pooled: bool, pool: PoolSettings) -> Vec<Finding> {
    vec![version(facts), role(facts, local), timeouts(facts), connections(facts, pooled, pool)]
}

fn version(facts: &Facts) -> Finding {
    let found = format!("PostgreSQL {}", facts.version_text);
    if facts.version < OLDEST {
        return Finding::error("server version", found, "upgrade to PostgreSQL 14 or newer");
    }
    Finding::ok("server version", found)
}

fn role(facts: &Facts, local: bool) -> Finding {
    let role = &facts.role;
    let Some(schema) = &facts.schema else {
        return Finding::error(
            "role",
            format!("{role} may use no schema of its search_path"),
            format!("GRANT USAGE ON SCHEMA public TO \"{role}\";"),
        );
    };
    if let Some(lacks) = &facts.lacks {
        let tables = TABLES.join(", ");
        return Finding::error(
            "role",
            format!("{role} lacks {lacks}"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO \"{role}\";"),
        );
    }
    if facts.superuser {
        let found = format!("{role} is a superuser");
        let fix = "give the service a role of its own: CREATE ROLE app LOGIN PASSWORD '...';";
        let finding = if local { Finding::note } else { Finding::warning };
        return finding("role", found, fix.to_owned());
    }
    if !facts.can_create {
        return Finding::note(
            "role",
            format!(
                "{role} may read and write, and may not create tables in {schema}: others must run migrations"
            ),
            format!("if it should run them: GRANT CREATE ON SCHEMA \"{schema}\" TO \"{role}\";"),
        );
    }
    Finding::ok("role", format!("{role} may read, write, and create tables in {schema}"))
}

fn timeouts(facts: &Facts) -> Finding {
    if facts.timeouts.is_empty() {
        return Finding::ok("timeouts", "statements, locks and idle transactions have limits");
    }
    let lines = facts.timeouts.iter().map(|name| {
        let limit = match name.as_str() {
            "lock_timeout" => "5s",
            "statement_timeout" => "10s",
            _ => "15s",
        };
        format!("ALTER ROLE \"{}\" SET {name} = '{limit}';", facts.role)
    });
    Finding::note(
        "timeouts",
        format!("no limit of the server's own: {}", facts.timeouts.join(", ")),
        lines.collect::<Vec<_>>().join("\n"),
    )
}

fn connections(facts: &Facts, pooled: bool, pool: PoolSettings) -> Finding {
    // One more listens.
    let needed = i64::try_from(pool.size + pool.overflow + 1).unwrap_or(i64::MAX);
    let Facts { usable, used, .. } = facts;
    let found =
        format!("{needed} at most for each process; the server has {usable}, of which {used} are in use");
    if pooled {
        return Finding::ok("pool size", format!("{found}; the pooler shares them"));
    }
    if needed > *usable {
        let overflow = (usable - 2).clamp(0, 10);
        let size = (usable - 1 - overflow).clamp(1, 5);
        return Finding::error(
            "pool size",
            found,
            format!("DATABASE_POOL_SIZE={size} DATABASE_POOL_OVERFLOW={overflow}, or a pooler in between"),
        );
    }
    if needed + used > *usable {
        return Finding::warning(
            "pool size",
            found,
            "smaller DATABASE_POOL_OVERFLOW, fewer processes, or a pooler",
        );
    }
    Finding::ok("pool size", format!("{found}: room for {} process(es)", (usable - used) / needed))
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_schema() {
        let schema = include_str!("../../db/schema.rs");
        let tables = schema.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(") {"));
        let names: Vec<_> = tables.filter_map(|line| Some(line.split_once(" (")?.0)).collect();
        assert_eq!(names, TABLES);
    }

    #[test]
    fn clocks_differ_by_what_the_round_trip_does_not_explain() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        assert_eq!(judge_clock(at(0), at(9), at(10)).status, Status::Ok);
        assert_eq!(judge_clock(at(0), at(-4), at(1)).status, Status::Ok);
        let behind = judge_clock(at(0), at(-60), at(1));
        assert!(behind.status == Status::Warning && behind.found.contains("60 s behind"), "{behind:?}");
        assert!(judge_clock(at(0), at(61), at(1)).found.contains("60 s ahead of"));
    }
}
