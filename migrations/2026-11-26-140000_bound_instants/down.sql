ALTER TABLE todos DROP CONSTRAINT todos_instants;
