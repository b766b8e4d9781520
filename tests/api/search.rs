//! Search and tags in the scripts and spellings that people write.

use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use icu_properties::props::{
    BinaryProperty, DefaultIgnorableCodePoint, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup,
    Script, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::support::{Owner, TestApp, rows};

/// Texts with searches that find them and searches that do not.
const FOUND: &[(&str, &[&str], &[&str])] = &[
    // Scripts without spaces, one character upwards.
    (
        "买牛奶和鸡蛋",
        &["牛奶", "鸡蛋", "牛", "蛋", "买牛奶和鸡蛋", "牛奶 鸡蛋", "鸡蛋,牛奶"],
        &["奶牛", "牛和", "鸡牛奶"],
    ),
    ("会議の資料を準備する", &["資料", "準備", "会議の", "する", "る", "の資料を"], &["料資", "会議資料"]),
    (
        "プログラミングを学ぶ",
        &["プログラミング", "グラ", "ﾌﾟﾛｸﾞﾗﾐﾝｸﾞ", "フ\u{309A}ロク\u{3099}ラミンク\u{3099}", "学"],
        &["フログラミング"],
    ),
    ("カメラとカメラ屋の屋根", &["カメラ", "ラ屋", "屋の屋"], &["カメラの屋", "メラの"]),
    ("ซื้อนมและไข่", &["นม", "ไข่", "ซื้อ", "น"], &["มน"]),
    ("ຊື້ນົມ", &["ນົມ"], &["ມນ"]),
    ("ទិញទឹកដោះគោ", &["ទឹក", "គោ"], &["គទ"]),
    ("နို့ဝယ်ရန်", &["ဝယ်", "နို့"], &["ယဝ"]),
    ("འོ་མ་ཉོ་དགོས", &["ཉོ", "འོ་མ", "དགོས"], &["སགད"]),
    ("ꆈꌠꁱꂷ", &["ꌠꁱ"], &["ꁱꌠ"]),
    ("ㄅㄆㄇㄈ", &["ㄆㄇ"], &["ㄇㄆ"]),
    ("𠮷野家で𩸽", &["𠮷野", "𩸽", "𠮷"], &["野𠮷"]),
    (
        "東京tower 5時",
        &["東京tower 5時", "東京", "tower", "tow", "5時", "5時 東京", "時"],
        &["京東tower", "東京towers"],
    ),
    ("ＴＯＫＹＯ　２０２０", &["tokyo 2020", "ＴＯＫＹＯ"], &["okyo"]),
    (
        "회의자료를 준비",
        &["자료", "회의", "준비", "회의 준비", "\u{110C}\u{1161}\u{1105}\u{116D}"],
        &["료자"],
    ),
    // Canonical equivalence, case and accents.
    (
        "Café crème",
        &["cafe\u{301}", "CAFÉ", "cafe", "creme", "crème ca", "café cre\u{300}me"],
        &["afe", "caf creme"],
    ),
    ("E\u{301}te\u{301} a\u{300} la plage", &["été", "ete", "Été à"], &["tete"]),
    (
        "Nguyễn Thị Đào",
        &["Nguyễn", "nguye\u{302}\u{303}n", "nguyen", "NGUYỄN", "đào", "dao", "thi"],
        &["nguyên b"],
    ),
    ("Δρόμος του Οδυσσέα", &["ΔΡΌΜΟΣ", "δρόμος", "δρομοσ", "ΔΡΟΜΟΣ", "οδυσσεα"], &["ρομος"]),
    ("Straße nach Größe", &["STRASSE", "straße", "STRAẞE", "strasse", "grosse", "GRÖSSE"], &["strase"]),
    ("İstanbul ısıtma", &["istanbul", "İSTANBUL", "ISTANBUL", "ısıtma", "isitma", "ISITMA"], &["stanbul"]),
    ("Приём в Киеве", &["приём", "прием", "ПРИЁМ", "киев"], &["рием"]),
    ("Žluťoučký kůň, łódź, Ærø", &["zlutoucky", "kun", "lodz", "ærø", "aero", "ŁÓDŹ"], &["odz"]),
    ("שָׁלוֹם עוֹלָם", &["שלום", "שָׁלוֹם", "עולם"], &["לום"]),
    ("שלום בלי ניקוד", &["שָׁלוֹם בלי"], &[]),
    ("مُحَمَّد وأحمد", &["محمد", "مُحَمَّد", "واحمد", "محـمد"], &["حمد"]),
    ("हिन्दी में दूध", &["दूध", "हिन्दी"], &["हिनद"]),
    ("soft\u{AD}ware up\u{200B}date", &["software", "update", "soft\u{200D}ware"], &["ware"]),
    ("ﬁx №5 ½ ㎏", &["fix", "no5", "1", "kg"], &["ix"]),
    ("l’été — “vite”", &["l'été", "été", "vite", "l ete"], &["lete"]),
    // Emoji.
    ("🎉 party", &["🎉", "🎉 party", "party 🎉"], &["🎊"]),
    ("Launch🚀now", &["🚀", "launch", "now"], &["🚁"]),
    (
        "Call 👩🏽\u{200D}🚀 and ❤\u{FE0F}",
        &["👩", "👩\u{200D}🚀", "👩🏽\u{200D}🚀", "👩🏿", "❤", "❤\u{FE0F}", "❤ call"],
        &["👨"],
    ),
    ("🇩🇪🇫🇷 trip", &["🇩🇪", "🇫🇷"], &["🇪🇫", "🇩🇰"]),
    ("1\u{FE0F}\u{20E3} first ✓", &["1\u{FE0F}\u{20E3}", "1", "✓"], &["2\u{FE0F}\u{20E3}"]),
    ("⠓⠑⠇⠇⠕", &["⠓⠑⠇⠇⠕", "⠓⠑"], &["⠑⠇"]),
];

#[tokio::test]
async fn a_search_finds_what_people_mean_in_every_script() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for (text, ..) in FOUND {
        let title: String = text.nfc().collect();
        assert_eq!(ada.create(text).await["title"], title);
        ada.todo("createTodo", json!({ "title": "in the description", "description": text })).await;
    }
    for (text, hits, misses) in FOUND {
        for (search, expected) in hits.iter().map(|s| (s, 2)).chain(misses.iter().map(|s| (s, 0))) {
            let found = find(&ada, search).await;
            let is_it = |(title, description): &&(String, String)| {
                let text: String = text.nfc().collect();
                *title == text || *description == text
            };
            assert_eq!(found.iter().filter(is_it).count(), expected, "{search:?} in {text:?}");
        }
    }
}

/// Returns titles and descriptions of the todos that a search finds.
async fn find(owner: &Owner<'_>, search: &str) -> Vec<(String, String)> {
    let query = "query($s: String) { todos(first: 100, filter: { search: $s }) { totalCount nodes { title description } } }";
    let answer = owner.ask(query, json!({ "s": search })).await;
    let nodes = answer.data("todos")["nodes"].as_array().unwrap();
    assert_eq!(answer.data("todos")["totalCount"], nodes.len(), "{search:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    nodes.iter().map(|node| (text(&node["title"]), text(&node["description"]))).collect()
}

#[tokio::test]
async fn a_search_that_shows_nothing_is_blank_and_punctuation_finds_nothing() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.create("a").await;
    for blank in ["", " \t", "\u{200B}", "\u{3000}\u{FE0F}"] {
        assert_eq!(find(&ada, blank).await.len(), 1, "{blank:?}");
    }
    for nothing in ["!!!", "。", "…—", "'\\\":*&|", "~", "\u{301}", "🏽"] {
        assert_eq!(find(&ada, nothing).await.len(), 0, "{nothing:?}");
    }
}

#[tokio::test]
async fn rows_written_by_sql_in_any_form_are_found() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    app.database
        .sql(
            "INSERT INTO todos (user_id, title, tags)
             SELECT id, normalize('Café Äpfel', NFD), ARRAY[normalize('été', NFD)] FROM users",
        )
        .await;
    assert_eq!(find(&ada, "CAFÉ äpfel").await.len(), 1);
    for tag in ["été", "e\u{301}te\u{301}"] {
        for kind in ["any", "all"] {
            let list = format!("(filter: {{ tags: {{ {kind}: [\"{tag}\"] }} }})");
            assert_eq!(ada.titles(&list).await.len(), 1, "{tag:?}");
        }
    }
    // Cursors of such rows lead on, too.
    ada.create("z").await;
    let list = "(first: 1, orderBy: { field: TITLE }";
    let query = format!("{{ todos{list}) {{ pageInfo {{ endCursor }} }} }}");
    let answer = ada.ask(&query, Value::Null).await;
    let cursor = answer.data("todos")["pageInfo"]["endCursor"].as_str().unwrap();
    assert_eq!(ada.titles(&format!("{list}, after: \"{cursor}\")")).await, ["z"]);
}

#[tokio::test]
async fn tags_are_one_in_all_canonical_forms_and_two_in_two_cases() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo =
        ada.todo("createTodo", json!({ "title": "a", "tags": ["é", "e\u{301}", "É", " tab\there "] })).await;
    assert_eq!(todo["tags"], json!(["é", "É", "tab here"]));
    for (tag, count) in
        [("é", 1), ("e\u{301}", 1), ("E\u{301}", 1), ("e", 0), ("tab here", 1), ("tab\\there", 1)]
    {
        assert_eq!(
            ada.titles(&format!("(filter: {{ tags: {{ any: [\"{tag}\"] }} }})")).await.len(),
            count,
            "{tag}"
        );
    }
}

#[tokio::test]
async fn texts_that_show_nothing_or_break_the_line_are_refused() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for text in [
        "\u{AD}",
        "\u{115F}",
        "\u{180E}",
        "\u{200B}",
        "\u{200C}\u{200D}",
        "\u{2060}",
        "\u{FEFF}",
        "\u{FE0F}",
        "\u{34F}",
        "\u{2800}",
        "\u{3164}",
        "\u{E0041}",
        "\u{FFA0} \u{200E}",
        "a\u{2028}b",
        "a\u{2029}b",
        "a\nb",
        "a\u{85}b",
    ] {
        let field = |answer: &crate::support::Answer| {
            assert_eq!(answer.code(), "BAD_USER_INPUT", "{text:?}");
            answer.error()["extensions"]["fields"][0]["path"].clone()
        };
        let created = ada.call("createTodo", json!({ "title": text })).await;
        assert_eq!(field(&created), json!(["input", "title"]));
        let tagged = ada.call("createTodo", json!({ "title": "a", "tags": ["b", text] })).await;
        assert_eq!(field(&tagged), json!(["input", "tags"]));
        let registered = app.register_with("bob@example.com", crate::support::PASSWORD, text).await;
        assert_eq!(field(&registered), json!(["input", "name"]));
    }
    assert_eq!(ada.create("milk\t2 l").await["title"], "milk 2 l");
}

#[tokio::test]
async fn the_longest_texts_have_terms() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let characters = |first: u32| (first..first + 10_000).filter_map(char::from_u32).collect::<String>();
    for description in [characters(0x4E00), characters(0x20000), "ﷺ".repeat(10_000), "ẞ".repeat(10_000)] {
        ada.todo("createTodo", json!({ "title": "漢".repeat(200), "description": description })).await;
    }
    assert_eq!(
        find(&ada, &characters(0x4E00).chars().skip(5000).take(200).collect::<String>()).await.len(),
        1
    );
}

#[tokio::test]
async fn the_length_of_a_search_is_that_of_its_composed_form() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let title = "Nguyễn ".repeat(28) + "Tâm";
    ada.create(&title).await;
    let decomposed: String = title.nfd().collect();
    assert!(decomposed.chars().count() > 200);
    assert_eq!(find(&ada, &decomposed).await.len(), 1);
    let query = "query($s: String) { todos(filter: { search: $s }) { totalCount } }";
    let answer = ada.ask(query, json!({ "s": "e\u{301}".repeat(201) })).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT");
}

/// Returns the folded texts, by the function that both sides of a search use.
async fn fold(app: &TestApp, texts: &[String]) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Folded {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let mut conn = app.database.connect().await;
    let mut folded = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(10_000) {
        let query =
            "SELECT todo_fold(text) AS text FROM unnest($1) WITH ORDINALITY AS texts (text, n) ORDER BY n";
        let rows: Vec<Folded> =
            diesel::sql_query(query).bind::<Array<Text>, _>(chunk).load(&mut conn).await.unwrap();
        folded.extend(rows.into_iter().map(|row| row.text));
    }
    folded
}

/// Characters that Unicode assigns, without most of the ideographs and syllables, which are alike.
fn assigned() -> impl Iterator<Item = char> {
    let category = CodePointMapData::<GeneralCategory>::new();
    let is_assigned = move |c: &char| {
        !matches!(category.get(*c), GeneralCategory::Unassigned | GeneralCategory::PrivateUse)
    };
    let is_typical = |c: &char| match u32::from(*c) {
        code @ (0x3400..=0x9FFF | 0xAC00..=0xD7A3 | 0x17000..=0x18CFF | 0x20000..=0x3FFFF) => code % 97 == 0,
        _ => true,
    };
    ('\u{1}'..=char::MAX).filter(is_assigned).filter(is_typical)
}

/// Characters whose decomposition the server, whose tables may be older, knows.
async fn known_to_the_server(app: &TestApp) -> Vec<char> {
    let changed = |c: &char| c.nfkd().ne(std::iter::once(*c));
    let candidates: String = assigned().filter(changed).collect();
    let query = format!(
        "SELECT c AS text FROM unnest(string_to_array('{candidates}', NULL)) AS c WHERE normalize(c, NFKD) <> c"
    );
    let known: std::collections::HashSet<_> =
        rows(app, &query).await.iter().filter_map(|text| text.chars().next()).collect();
    assigned().filter(|c| !changed(c) || known.contains(c)).collect()
}

#[tokio::test]
async fn folding_ignores_case_and_canonical_form_of_every_character() {
    let app = TestApp::start().await;
    let mut ones = Vec::new();
    let mut others = Vec::new();
    for c in known_to_the_server(&app).await {
        let text = format!("x{c}");
        let forms = [
            text.to_lowercase(),
            text.to_uppercase(),
            text.to_uppercase().to_lowercase(),
            text.nfd().collect(),
            text.nfkc().collect(),
        ];
        for form in forms.into_iter().filter(|form| *form != text) {
            ones.push(text.clone());
            others.push(form);
        }
    }
    let folded = fold(&app, &ones).await.into_iter().zip(fold(&app, &others).await);
    let differing: Vec<_> =
        ones.iter().zip(&others).zip(folded).filter(|(_, (one, other))| one != other).collect();
    assert!(differing.is_empty(), "{} of {}: {differing:?}", differing.len(), ones.len());
}

#[tokio::test]
async fn folding_splits_and_strips_by_the_properties_of_every_character() {
    let app = TestApp::start().await;
    let category = CodePointMapData::<GeneralCategory>::new();
    let script = CodePointMapData::<Script>::new();
    let known = known_to_the_server(&app).await;
    // What is left after NFKD; the rest is split like its parts.
    let characters: Vec<char> = known.into_iter().filter(|c| c.nfkd().eq(std::iter::once(*c))).collect();
    let texts: Vec<_> = characters.iter().map(|c| format!("a{c}b")).collect();
    let is = |c, group: GeneralCategoryGroup| group.contains(category.get(c));
    let mut wrong = Vec::new();
    for (c, folded) in characters.iter().copied().zip(fold(&app, &texts).await) {
        let unspaced = [
            Script::Han,
            Script::Hiragana,
            Script::Katakana,
            Script::Bopomofo,
            Script::Yi,
            Script::Hangul,
            Script::Thai,
            Script::Lao,
            Script::Khmer,
            Script::Myanmar,
            Script::Tibetan,
            Script::Javanese,
            Script::Balinese,
            Script::NewTaiLue,
            Script::TaiLe,
            Script::TaiTham,
            Script::TaiViet,
            Script::Ahom,
            Script::Tangut,
            Script::Nushu,
        ];
        let is_word_character = is(c, GeneralCategoryGroup::Letter)
            || is(c, GeneralCategoryGroup::Number)
            || is(c, GeneralCategoryGroup::Mark);
        let expected: &[String] = if has::<DefaultIgnorableCodePoint>(c) || matches!(c, '🏻'..='🏿') {
            &["ab".into()]
        } else if has::<ExtendedPictographic>(c) && !c.is_ascii() {
            &[format!("a {c} b")]
        } else if has::<WhiteSpace>(c) || c.is_control() || is(c, GeneralCategoryGroup::Punctuation) {
            &["a b".into()]
        } else if unspaced.contains(&script.get(c)) && is_word_character {
            &[format!("a ~{c} b"), "ab".into()]
        } else if is(c, GeneralCategoryGroup::Symbol) {
            &["a b".into(), format!("a {c} b"), format!("a{c}b")]
        } else {
            continue;
        };
        if !expected.contains(&folded) {
            wrong.push((c, folded));
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:?}", wrong.len());
}

fn has<P: BinaryProperty>(c: char) -> bool {
    CodePointSetData::new::<P>().contains(c)
}
