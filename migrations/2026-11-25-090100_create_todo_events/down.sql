DROP TRIGGER note_todos_purged ON todos;
DROP TRIGGER note_todos_changed ON todos;
DROP TRIGGER note_todos_created ON todos;
DROP FUNCTION note_todo_events();
DROP FUNCTION todo_difference(jsonb, jsonb);
DROP FUNCTION todo_content(todos);
DROP TABLE todo_events;
DROP TABLE todo_event_counters;
