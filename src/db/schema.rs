// @generated automatically by Diesel CLI.

diesel::table! {
    /// Sign-ins: each register or login opens one.
    sessions (id) {
        /// Random identifier.
        id -> Uuid,
        /// Whose session it is; deleting the user deletes it.
        user_id -> Uuid,
        /// SHA-256 of the refresh token; the token itself is never stored.
        refresh_token_hash -> Bytea,
        /// When the session was opened.
        created_at -> Timestamptz,
        /// When the refresh token stops working.
        expires_at -> Timestamptz,
    }
}

diesel::table! {
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

diesel::joinable!(sessions -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(sessions, users,);
