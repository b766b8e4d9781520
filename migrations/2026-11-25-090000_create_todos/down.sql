DROP TABLE todos;
DROP FUNCTION count_todo_version();
DROP FUNCTION set_todo_completed();
DROP FUNCTION todo_rank(text);
DROP FUNCTION todo_tagged(uuid, text[], boolean);
DROP FUNCTION todo_search(uuid, text);
DROP FUNCTION todo_terms(uuid, text, text, text[]);
DROP FUNCTION todo_term(uuid, text, text);
DROP FUNCTION todo_words(text);
